//! The commands with valid input, on the real binary.

use std::io::Read;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use safetensors::SafeTensors;
use serde_json::Value;

use crate::adapter;
use crate::compare::{all_close, rows_close, same};
use crate::fixtures::{f32s, i32s, path, trial};
use crate::program::{Checkpoint, command, json_lines, output, run, succeed};

/// Runs on the reference, so that these need no adapter.
const HOST: [&str; 2] = ["--adapter", "cpu"];

/// `run` with `arguments` on the reference.
fn host(arguments: &[&str]) -> Result<String> {
    succeed(&[&["run"], arguments, &HOST].concat())
}

pub fn trials() -> Vec<Trial> {
    vec![
        trial("cli::a_seed_gives_the_same_text", || {
            let first = host(&["builtin", "ROMEO:", "-n", "30", "--seed", "5"])?;
            ensure!(first.len() > 40, "{first:?}");
            ensure!(!first.starts_with("ROMEO:"), "the prompt is echoed");
            same(
                "text",
                &[host(&["builtin", "ROMEO:", "-n", "30", "--seed", "5"])?],
                std::slice::from_ref(&first),
            )?;
            ensure!(host(&["builtin", "ROMEO:", "-n", "30", "--seed", "6"])? != first);
            Ok(())
        }),
        trial("cli::run_without_arguments_starts_a_text", || {
            let run = run(&["run", "-n", "12", "--adapter", "cpu"])?;
            ensure!(
                run.status == 0 && run.stdout.trim().len() > 5,
                "{:?}",
                run.stdout
            );
            for word in ["model", "builtin", "adapter", "seed", "tokens/s", "mean"] {
                ensure!(run.stderr.contains(word), "no {word} in {}", run.stderr);
            }
            Ok(())
        }),
        trial("cli::json_lines_carry_the_same_text", json),
        trial("cli::stop_text_and_length", stops),
        trial("cli::prompts_from_files_and_pipes", prompts),
        trial("cli::a_closed_output_is_success", closed_output),
        trial("cli::one_file_runs_like_its_folder", single_file),
        trial("cli::exits_follow_the_flags", exits),
        trial(
            "cli::generation_config_is_under_the_flags",
            generation_config,
        ),
        trial("cli::trace_writes_golden_logits", || trace_logits(&HOST)),
        adapter::trial("cli::trace_writes_golden_logits_on_the_adapter", |_| {
            trace_logits(&["--kv-type", "f32"])?;
            trace_logits(&["--kv-type", "f32", "--decode"])
        }),
        adapter::trial("cli::adapter_and_reference_write_the_same_text", |_| {
            let arguments = ["builtin", "Call me", "-n", "48", "--temperature", "0"];
            let on_adapter = succeed(&[&["run"], &arguments[..], &["--kv-type", "f32"]].concat())?;
            same("greedy text", &[on_adapter], &[host(&arguments)?])
        }),
        trial("cli::inspect_counts", inspect),
        trial("cli::pack_makes_one_file_that_runs_alike", pack),
        trial("cli::devices_lists_adapters", devices),
        trial("cli::help_and_version", || {
            ensure!(succeed(&["--version"])?.starts_with("ztt-wgpu 0."));
            for arguments in [&["--help"][..], &["run", "--help"], &["trace", "--help"]] {
                ensure!(succeed(arguments)?.contains("Usage"));
            }
            Ok(())
        }),
    ]
}

fn json() -> Result<()> {
    let arguments = ["builtin", "Call me", "-n", "20", "--seed", "1"];
    let text = host(&arguments)?;
    let lines = json_lines(&host(&[&arguments[..], &["--json"]].concat())?)?;
    let (summary, tokens) = lines.split_last().context("no lines")?;
    ensure!(tokens.len() == 20, "{} tokens", tokens.len());
    let joined: String = tokens.iter().filter_map(|t| t["text"].as_str()).collect();
    same("text", &[joined.trim_end()], &[text.trim_end()])?;
    for (i, token) in tokens.iter().enumerate() {
        let fields: Vec<_> = token.as_object().context("object")?.keys().collect();
        same(
            "fields",
            &fields,
            &["index", "id", "text", "cycles", "scores"]
                .map(String::from)
                .iter()
                .collect::<Vec<_>>(),
        )?;
        ensure!(token["index"] == i, "index {}", token["index"]);
        let scores = token["scores"].as_array().context("scores")?;
        ensure!(
            Some(scores.len() as u64) == token["cycles"].as_u64(),
            "{token}"
        );
    }
    let summary = &summary["summary"];
    ensure!(
        summary["generated_tokens"] == 20 && summary["seed"] == 1,
        "{summary}"
    );
    ensure!(summary["finish"] == "length", "{summary}");
    // 2 prompt tokens and 19 passes: the last token is not run.
    let exits: u64 = summary["exits"]
        .as_array()
        .context("exits")?
        .iter()
        .filter_map(Value::as_u64)
        .sum();
    let prompt = summary["prompt_tokens"].as_u64().context("prompt")?;
    same("positions", &[exits], &[prompt + 19])
}

fn stops() -> Result<()> {
    let arguments = ["builtin", "ROMEO:", "-n", "40", "--temperature", "0"];
    let text = host(&arguments)?;
    let words: Vec<&str> = text.split_whitespace().collect();
    let stop = format!("{} {}", words[3], words[4]);
    let cut = host(&[&arguments[..], &["--stop", &stop]].concat())?;
    let expected = text.split(&stop).next().context("text")?;
    same(
        "text before the stop",
        &[cut.trim_end_matches('\n')],
        &[expected],
    )?;
    let nothing = host(&["builtin", "ROMEO:", "-n", "0"])?;
    same("no tokens", &[nothing.trim_end()], &[""])?;
    // The context ends generation too: 8 positions, 2 of them the prompt's, and one token more.
    let full = host(&["builtin", "ROMEO:", "--ctx", "8", "--ignore-eos", "--json"])?;
    let lines = json_lines(&full)?;
    let summary = &lines.last().context("no lines")?["summary"];
    ensure!(summary["finish"] == "context", "{summary}");
    let positions = summary["prompt_tokens"]
        .as_u64()
        .zip(summary["generated_tokens"].as_u64());
    let (prompt, generated) = positions.context("counts")?;
    same("positions", &[prompt + generated], &[9])
}

fn prompts() -> Result<()> {
    let rest = ["-n", "16", "--temperature", "0"];
    let given = host(&[&["builtin", "In the beginning"], &rest[..]].concat())?;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), "In the beginning\n")?;
    let name = file.path().display().to_string();
    same(
        "--file",
        &[host(&[&["--file", &name], &rest[..]].concat())?],
        std::slice::from_ref(&given),
    )?;
    for model in [&["builtin", "-"][..], &["builtin"]] {
        let mut piped = command(&[&["run"], model, &rest, &HOST].concat());
        piped.write_stdin("In the beginning");
        same(
            "pipe",
            &[output(piped)?.stdout],
            std::slice::from_ref(&given),
        )?;
    }
    let given = succeed(&["trace", "builtin", "Call me", "--adapter", "cpu"])?;
    for arguments in [&["trace", "builtin", "-"][..], &["trace", "builtin"]] {
        let mut piped = command(&[arguments, &HOST].concat());
        piped.write_stdin("Call me\n");
        same(
            "pipe",
            &[output(piped)?.stdout],
            std::slice::from_ref(&given),
        )?;
    }
    // Without MODEL a pipe is left alone.
    let given = host(&[&["builtin", "In the beginning"], &rest[..]].concat())?;
    let mut piped = command(&[&["run"], &rest[..], &HOST].concat());
    piped.write_stdin("In the beginning");
    ensure!(output(piped)?.stdout != given, "standard input was read");
    Ok(())
}

fn closed_output() -> Result<()> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ztt-wgpu"))
        .args(["run", "-n", "200", "--ignore-eos", "--adapter", "cpu"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut first = [0; 1];
    child
        .stdout
        .take()
        .context("stdout")?
        .read_exact(&mut first)?;
    let output = child.wait_with_output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(0),
        "{:?}: {stderr}",
        output.status
    );
    ensure!(!stderr.contains("ztt-wgpu:"), "{stderr}");
    Ok(())
}

/// The embedded model's own file, alone in a folder; and a config beside it that wins.
fn single_file() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("one.safetensors");
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/model/builtin/ztt-classics.safetensors"
    );
    std::fs::copy(source, &file)?;
    let name = file.display().to_string();
    let rest = ["ROMEO:", "-n", "16", "--temperature", "0"];
    let builtin = host(&[&["builtin"], &rest[..]].concat())?;
    same(
        "text",
        &[host(&[&[name.as_str()], &rest[..]].concat())?],
        &[builtin],
    )?;
    let inspected: Value = serde_json::from_str(&succeed(&["inspect", &name, "--json"])?)?;
    ensure!(inspected["ctx"] == 384, "{}", inspected["ctx"]);
    let golden = path("golden/llama-plain");
    let folder = golden.display().to_string();
    let file = golden.join("model.safetensors").display().to_string();
    let trace = |model: &str| {
        succeed(&[
            "trace",
            model,
            "--ids",
            "1 2 3",
            "--json",
            "--adapter",
            "cpu",
        ])
    };
    same("folder and file", &[trace(&folder)?], &[trace(&file)?])?;
    std::fs::write(golden_copy(&name)?, "{}")?;
    let run = run(&["inspect", &name])?;
    ensure!(
        run.status == 1 && run.stderr.contains("model_type"),
        "{}",
        run.stderr
    );
    Ok(())
}

/// Where a config beside the file `name` would be.
fn golden_copy(name: &str) -> Result<std::path::PathBuf> {
    Ok(std::path::Path::new(name).with_file_name("config.json"))
}

fn exits() -> Result<()> {
    let cycles = |flags: &[&str]| -> Result<Vec<u64>> {
        let arguments = [
            &["trace", "builtin", "Call me Ishmael", "--json"],
            flags,
            &HOST,
        ]
        .concat();
        let lines = json_lines(&succeed(&arguments)?)?;
        Ok(lines.iter().filter_map(|l| l["cycles"].as_u64()).collect())
    };
    let own = cycles(&[])?;
    ensure!(own.contains(&1) && own.iter().any(|&c| c > 1), "{own:?}");
    ensure!(cycles(&["--no-exit"])?.iter().all(|&c| c == 3));
    ensure!(cycles(&["--exit-threshold", "-1"])?.iter().all(|&c| c == 1));
    ensure!(
        cycles(&["--exit-threshold", "0", "--min-cycles", "2"])?
            .iter()
            .all(|&c| c == 2)
    );
    ensure!(
        cycles(&["--exit-threshold", "0", "--min-cycles", "9"])?
            .iter()
            .all(|&c| c == 3)
    );
    ensure!(
        cycles(&["--exit-threshold", "1.5"])?
            .iter()
            .all(|&c| c == 3)
    );
    ensure!(
        cycles(&["--cycles", "2", "--no-exit"])?
            .iter()
            .all(|&c| c == 2)
    );
    ensure!(cycles(&["--exit-reduce", "min"])? != own || cycles(&["--exit-reduce", "max"])? != own);
    Ok(())
}

fn generation_config() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("model.safetensors");
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/model/builtin/ztt-classics.safetensors"
    );
    std::fs::copy(source, &file)?;
    let name = folder.path().display().to_string();
    let config =
        r#"{"bos_token_id": 0, "eos_token_id": [0, 7], "do_sample": false, "max_new_tokens": 9}"#;
    std::fs::write(folder.path().join("generation_config.json"), config)?;
    let greedy = host(&["builtin", "ROMEO:", "-n", "9", "--temperature", "0"])?;
    same(
        "greedy by the file",
        &[host(&[&name, "ROMEO:"])?],
        std::slice::from_ref(&greedy),
    )?;
    let sampled = host(&[
        &name,
        "ROMEO:",
        "--temperature",
        "5",
        "--top-k",
        "0",
        "--seed",
        "1",
    ])?;
    ensure!(sampled != greedy, "a flag did not win over the file");
    let longer = host(&[&name, "ROMEO:", "-n", "14"])?;
    ensure!(
        longer.len() > greedy.len(),
        "a flag did not win over the file"
    );
    Ok(())
}

fn trace_logits(flags: &[&str]) -> Result<()> {
    let bytes = std::fs::read(path("golden/llama-key-value/golden.safetensors"))?;
    let golden = SafeTensors::deserialize(&bytes)?;
    let (_, header) = SafeTensors::read_metadata(&bytes)?;
    let settings = header.metadata().as_ref().context("metadata")?["propagate"].clone();
    let settings: Value = serde_json::from_str(&settings)?;
    let threshold = settings["threshold"].to_string();
    let ids: Vec<String> = i32s(&golden, "ids")?.iter().map(i32::to_string).collect();
    let checkpoint = Checkpoint::copy_of("llama-key-value")?;
    let file = checkpoint
        .path()
        .join("out.safetensors")
        .display()
        .to_string();
    let (name, ids) = (checkpoint.name(), ids.join(" "));
    let arguments = [
        "trace",
        &name,
        "--ids",
        &ids,
        "--logits",
        &file,
        "--exit-threshold",
        &threshold,
        "--json",
    ];
    let lines = json_lines(&succeed(&[&arguments, flags].concat())?)?;
    let bytes = std::fs::read(&file)?;
    let out = SafeTensors::deserialize(&bytes)?;
    let expected = f32s(&golden, "propagate.logits")?;
    rows_close("logits", &f32s(&out, "logits")?, &expected, 131, 2e-4)?;
    same(
        "cycles",
        &i32s(&out, "cycles")?,
        &i32s(&golden, "propagate.cycles")?,
    )?;
    all_close(
        "scores",
        &f32s(&out, "scores")?,
        &f32s(&golden, "propagate.scores")?,
        1e-4,
    )?;
    ensure!(lines.len() == 24);
    ensure!(
        lines[3]["text"].is_null() && lines[3]["position"] == 3,
        "{}",
        lines[3]
    );
    ensure!(
        lines[3]["top"].as_array().is_some_and(|t| t.len() == 5),
        "{}",
        lines[3]
    );
    Ok(())
}

fn inspect() -> Result<()> {
    let d: Value = serde_json::from_str(&succeed(&["inspect", "--json", "--kv-type", "f32"])?)?;
    ensure!(d["parameters"] == 2_017_728u64, "{}", d["parameters"]);
    // Layers 0 and 3 keep one cycle, layers 1 and 2 three: 8 x (keys, values) x 3 x 384 x 32 f32.
    ensure!(
        d["kv_cache_bytes"] == 8 * 2 * 3 * 384 * 32 * 4,
        "{}",
        d["kv_cache_bytes"]
    );
    // The scales of a head's row of q8_0 take 8 bytes.
    let rows = 8 * 2 * 3;
    for (i, kv_type, n_bytes) in [(0, "f16", 64), (1, "f32", 128), (2, "q8_0", 40)] {
        let found = &d["kv_cache_by_type"][i];
        ensure!(found["kv_type"] == kv_type, "{found}");
        ensure!(found["bytes_per_position"] == n_bytes * rows, "{found}");
        ensure!(found["bytes"] == 384 * n_bytes * rows, "{found}");
    }
    let layers: Vec<_> = d["walk"]
        .as_array()
        .context("walk")?
        .iter()
        .map(|s| s["layer"].as_u64())
        .collect();
    same("walk", &layers, &[0, 1, 2, 1, 2, 1, 2, 3].map(Some))?;
    let plain = path("golden/llama-plain").display().to_string();
    let text = succeed(&["inspect", &plain])?;
    ensure!(
        text.contains("plain llama") && text.contains("BF16"),
        "{text}"
    );
    Ok(())
}

fn pack() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder
        .path()
        .join("packed.safetensors")
        .display()
        .to_string();
    let rest = ["Call me", "-n", "12", "--temperature", "0"];
    let expected = host(&[&["builtin"], &rest[..]].concat())?;
    succeed(&["pack", "builtin", "-o", &file])?;
    same(
        "text",
        &[host(&[&[file.as_str()], &rest[..]].concat())?],
        std::slice::from_ref(&expected),
    )?;
    // Out of shards.
    let sharded = path("families/sharded").display().to_string();
    let alone = tempfile::tempdir()?;
    let file = alone.path().join("one.safetensors").display().to_string();
    succeed(&["pack", &sharded, "-o", &file])?;
    let trace = |model: &str| {
        succeed(&[
            "trace",
            model,
            "--ids",
            "1 2 3",
            "--json",
            "--adapter",
            "cpu",
        ])
    };
    same("shards", &[trace(&file)?], &[trace(&sharded)?])?;
    ensure!(
        std::fs::read_dir(alone.path())?.count() == 1,
        "a temporary file was left"
    );
    Ok(())
}

fn devices() -> Result<()> {
    let text = succeed(&["devices"])?;
    ensure!(text.contains("plain Rust reference"), "{text}");
    let list: Value = serde_json::from_str(&succeed(&["devices", "--json"])?)?;
    for adapter in list.as_array().context("no list")? {
        ensure!(
            adapter["limits"]["storage_binding_bytes"].as_u64() > Some(0),
            "{adapter}"
        );
        ensure!(
            text.contains(adapter["name"].as_str().context("name")?),
            "{text}"
        );
        // One row and many, each with a tile for linear maps at least.
        let tiles = adapter["tiles"].as_array().context("no tiles")?;
        for batch in ["one row", "many rows"] {
            ensure!(tiles.iter().any(|t| t["batch"] == batch), "{adapter}");
        }
        for tile in tiles {
            let [kernel, batch] = ["kernel", "batch"].map(|key| tile[key].as_str());
            let line = format!(
                "tile of {}, {}: ",
                kernel.context("kernel")?,
                batch.context("batch")?
            );
            ensure!(text.contains(&line), "no `{line}`: {text}");
        }
    }
    let mut none = command(&["devices", "--json"]);
    none.env(
        "WGPU_BACKEND",
        if cfg!(target_os = "macos") {
            "vulkan"
        } else {
            "metal"
        },
    );
    same(
        "adapters of another system's backend",
        &[output(none)?.stdout.trim()],
        &["[]"],
    )
}
