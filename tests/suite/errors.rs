//! Bad input, on the real binary: status 1 (2 for wrong usage), one line on standard error that
//! names the fault, nothing on standard output.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use serde_json::json;

use crate::adapter;
use crate::fixtures::trial;
use crate::program::{Checkpoint, limited, output, run};

/// Runs the program, which must fail in one line that contains all of `words`.
pub fn fails(arguments: &[&str], status: i32, words: &[&str]) -> Result<()> {
    let run = run(arguments)?;
    let line = run.stderr.trim_end();
    ensure!(
        run.status == status,
        "{arguments:?}: status {}: {line}",
        run.status
    );
    ensure!(
        run.stdout.is_empty(),
        "{arguments:?}: printed {:?}",
        run.stdout
    );
    ensure!(
        line.lines().count() == 1,
        "{arguments:?}: more than one line: {line}"
    );
    ensure!(line.starts_with("ztt-wgpu: "), "{arguments:?}: {line}");
    ensure!(!line.contains("panicked"), "{arguments:?}: {line}");
    for word in words {
        ensure!(line.contains(word), "{arguments:?}: no `{word}` in: {line}");
    }
    Ok(())
}

/// A checkpoint that every subcommand must refuse.
fn refused(checkpoint: &Checkpoint, words: &[&str]) -> Result<()> {
    let name = checkpoint.name();
    fails(&["inspect", &name], 1, words)?;
    fails(&["trace", &name, "--ids", "1 2"], 1, words)
}

/// A golden checkpoint with one field of its config replaced.
fn config(pointer: &str, field: &str, value: serde_json::Value, words: &[&str]) -> Result<()> {
    let spoilt = Checkpoint::copy_of("llama-key-only")?.set(pointer, field, value)?;
    refused(&spoilt, words)
}

/// Arguments that `bench` and `microbench` refuse before they measure anything.
fn measuring_arguments() -> Result<()> {
    let plain = crate::fixtures::path("golden/llama-plain")
        .display()
        .to_string();
    let host = ["--adapter", "cpu"];
    let bench = |arguments: &[&str], status, words: &[&str]| {
        fails(&[&["bench"], arguments, &host].concat(), status, words)
    };
    bench(
        &["-p", "100000"],
        1,
        &["384 positions", "builtin", "100000"],
    )?;
    bench(&["-d", "380", "-n", "9"], 1, &["384 positions", "389"])?;
    bench(&["-p", "0", "-n", "0"], 1, &["nothing to measure", "`-p`"])?;
    bench(&["-r", "0"], 2, &["--repetitions", "from 1 to 1000000"])?;
    bench(
        &["--exit-threshold", "low"],
        2,
        &["--exit-threshold", "`none`"],
    )?;
    bench(&["--cycles", "9"], 1, &["--cycles", "1 to 3", "9"])?;
    bench(
        &[&plain, "--sweep-exit"],
        1,
        &["--sweep-exit", "with scores", "llama-plain"],
    )?;
    bench(
        &["--synthetic", "7b"],
        2,
        &["--synthetic", "tiny, 135m, 1b, 3b, ouro-1.4b, nanbeige-3b"],
    )?;
    bench(
        &["--synthetic", "tiny", "--head", "1"],
        2,
        &["--stored-cycles"],
    )?;
    let looped = ["--synthetic", "ouro-1.4b", "--stored-cycles", "2"];
    bench(&looped, 1, &["--stored-cycles", "`ouro-1.4b`"])?;
    let cycled = [
        "--synthetic",
        "tiny",
        "--stored-cycles",
        "2",
        "--head",
        "10",
    ];
    bench(&cycled, 1, &["tail_layers", "fewer than the 10"])?;
    bench(
        &["--plot", "/nowhere/a.svg"],
        1,
        &["/nowhere/a.svg", "No such"],
    )?;
    bench(&["-o", "xml"], 2, &["--output", "md, csv, json, jsonl"])?;
    fails(&["bench", "compare", "a.json"], 2, &["B.json"])?;
    fails(
        &["bench", "compare", "/nowhere/a", "/nowhere/b"],
        1,
        &["/nowhere/a"],
    )?;
    fails(
        &["microbench", "--adapter", "cpu"],
        1,
        &["--adapter", "`cpu`"],
    )?;
    fails(&["microbench", "-p", "1"], 2, &["--n-prompt", "at least 2"])?;
    fails(
        &["run", "--profile", "--adapter", "cpu"],
        1,
        &["--profile", "no kernels"],
    )
}

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    let mut add = |name: &str, run: fn() -> Result<()>| {
        let name = format!("errors::{name}");
        trials.push(match name.as_str() {
            "errors::sizes_beyond_64_bits" | "errors::cache_larger_than_the_adapter_binds" => {
                adapter::trial(name, move |_| run())
            }
            "errors::full_disk" if !std::path::Path::new("/dev/full").exists() => trial(name, run)
                .with_kind("no /dev/full")
                .with_ignored_flag(true),
            _ => trial(name, run),
        });
    };
    add("measuring_arguments", measuring_arguments);
    add("missing_file", || {
        fails(
            &["run", "/nowhere/model.safetensors"],
            1,
            &["/nowhere/model.safetensors", "No such"],
        )
    });
    add("folder_without_weights", || {
        let folder = tempfile::tempdir()?;
        let name = folder.path().display().to_string();
        fails(
            &["run", &name],
            1,
            &[&name, "expected model.safetensors", "found neither"],
        )
    });
    add("empty_file", || {
        let spoilt = Checkpoint::copy_of("llama-plain")?.weights(|_| Vec::new())?;
        refused(&spoilt, &["model.safetensors", "empty file"])
    });
    add("tiny_file", || {
        let spoilt = Checkpoint::copy_of("llama-plain")?.weights(|b| b[..5].to_vec())?;
        refused(&spoilt, &["model.safetensors", "found 5 bytes"])
    });
    add("header_longer_than_the_file", || {
        let spoilt = Checkpoint::copy_of("llama-plain")?.weights(|b| b[..1000].to_vec())?;
        refused(
            &spoilt,
            &["model.safetensors", "header", "file of 1000 bytes"],
        )
    });
    add("weights_cut_short", || {
        let cut = |b: Vec<u8>| b[..b.len() - 10].to_vec();
        let spoilt = Checkpoint::copy_of("llama-plain")?.weights(cut)?;
        refused(&spoilt, &["model.safetensors", "cut short"])
    });
    add("header_is_no_json", || {
        let spoilt = Checkpoint::copy_of("llama-plain")?.weights(|mut b| {
            b[9] = b'!';
            b
        })?;
        refused(
            &spoilt,
            &["model.safetensors", "expected a valid safetensors header"],
        )
    });
    add("config_is_no_json", || {
        let spoilt = Checkpoint::copy_of("llama-plain")?;
        std::fs::write(spoilt.file("config.json"), "{\"model_type\": ")?;
        refused(&spoilt, &["config.json", "expected valid JSON"])
    });
    add("no_config", || {
        let spoilt = Checkpoint::copy_of("llama-plain")?;
        std::fs::remove_file(spoilt.file("config.json"))?;
        refused(&spoilt, &["expected config.json", "found none"])
    });
    add("generation_config_is_no_json", || {
        let spoilt = Checkpoint::copy_of("llama-plain")?;
        std::fs::write(spoilt.file("generation_config.json"), "[1]")?;
        refused(
            &spoilt,
            &["generation_config.json", "expected a JSON object"],
        )
    });
    add("generation_config_out_of_range", || {
        let values = [
            ("temperature", json!(-1), "at least 0"),
            ("top_p", json!(-3), "0 to 1"),
            ("min_p", json!(2), "0 to 1"),
            ("repetition_penalty", json!(0), "0.001 to 1000"),
            ("do_sample", json!("no"), "true or false"),
        ];
        for (field, value, expected) in values {
            let spoilt = Checkpoint::copy_of("llama-plain")?;
            let text = json!({field: value}).to_string();
            std::fs::write(spoilt.file("generation_config.json"), text)?;
            let field = format!("`{field}`");
            refused(&spoilt, &["generation_config.json", &field, expected])?;
        }
        Ok(())
    });
    add("sizes_beyond_64_bits", || {
        let spoilt = Checkpoint::copy_of("llama-plain")?.set(
            "",
            "max_position_embeddings",
            json!(4_294_967_295u32),
        )?;
        let arguments = ["trace", &spoilt.name(), "--ids", "1", "--ctx", "4294967295"];
        fails(&arguments, 1, &["does not fit", "at most"])
    });
    // The library that reads tokenizers panics over this.
    add("tokenizer_with_a_broken_decoder", || {
        let spoilt = Checkpoint::copy_of("llama-plain")?;
        std::fs::write(spoilt.file("tokenizer.json"), r#"{"decoder": {"type": x}}"#)?;
        fails(
            &["run", &spoilt.name(), "text"],
            1,
            &["tokenizer.json", "expected a tokenizer"],
        )
    });
    add("tokenizer_is_no_json", || {
        let spoilt = Checkpoint::copy_of("llama-plain")?;
        std::fs::write(spoilt.file("tokenizer.json"), "nonsense")?;
        let name = spoilt.name();
        fails(
            &["run", &name, "text"],
            1,
            &["tokenizer.json", "expected a tokenizer"],
        )
    });
    add("missing_tensor", || {
        let spoilt = Checkpoint::copy_of("llama-plain")?
            .header("layers.2.mlp.up_proj", "layers.2.mlp.UP_proj")?;
        refused(
            &spoilt,
            &[
                "model.safetensors",
                "`model.layers.2.mlp.up_proj.weight`",
                "no such tensor",
            ],
        )
    });
    add("wrong_shape", || {
        let spoilt = Checkpoint::copy_of("llama-plain")?
            .header("\"shape\": [131, 64]", "\"shape\": [64, 131]")?;
        refused(
            &spoilt,
            &[
                "`model.embed_tokens.weight`",
                "expected shape [131, 64]",
                "found shape [64, 131]",
            ],
        )
    });
    add("wrong_type", || {
        let spoilt = Checkpoint::copy_of("llama-plain")?
            .header("\"dtype\": \"BF16\"", "\"dtype\": \"I16\"")?;
        refused(
            &spoilt,
            &[
                "model.safetensors",
                "expected F32, F16 or BF16",
                "found I16",
            ],
        )
    });
    add("pool_rows", || {
        config(
            "/ztt",
            "cycles",
            json!(4),
            &[
                "zero_token_pool.key",
                "expected shape [10,",
                "found shape [8,",
            ],
        )
    });
    add("pool_value_alone", || {
        let old = "zero_token_pool.key";
        let spoilt = Checkpoint::copy_of("llama-key-value")?.header(old, "zero_token_pool.KEY")?;
        refused(&spoilt, &["zero_token_pool.key", "found no such tensor"])
    });
    add("cycles_0", || {
        config(
            "/ztt",
            "cycles",
            json!(0),
            &["config.json", "`ztt.cycles`", "at least 1", "found 0"],
        )
    });
    add("cycles_missing", || {
        config(
            "/ztt",
            "cycles",
            json!(null),
            &["config.json", "`ztt.cycles`", "found nothing"],
        )
    });
    add("cycles_absurd", || {
        config(
            "/ztt",
            "cycles",
            json!(4_000_000_000u32),
            &["`ztt.cycles`", "at most"],
        )
    });
    add("layers_absurd", || {
        config(
            "",
            "num_hidden_layers",
            json!(4_000_000_000u32),
            &["`num_hidden_layers`", "at most"],
        )
    });
    add("no_middle_layer", || {
        config(
            "/ztt",
            "tail_layers",
            json!(3),
            &["`ztt.tail_layers`", "4 stored layers", "found 3"],
        )
    });
    add("ztt_block_missing", || {
        config(
            "",
            "ztt",
            json!(null),
            &["config.json", "`ztt`", "found nothing"],
        )
    });
    add("threshold_is_no_number", || {
        config(
            "/ztt",
            "exit",
            json!({"threshold": "high"}),
            &["`ztt.exit.threshold`", "found `high`"],
        )
    });
    add("unknown_reduce", || {
        config(
            "/ztt",
            "exit",
            json!({"reduce": "median"}),
            &["`ztt.exit.reduce`", "`mean` or", "found `median`"],
        )
    });
    add("heads_that_do_not_divide", || {
        config(
            "",
            "num_key_value_heads",
            json!(3),
            &["`num_key_value_heads`", "divisor of the 4", "found 3"],
        )
    });
    add("heads_0", || {
        config(
            "",
            "num_attention_heads",
            json!(0),
            &["`num_attention_heads`", "found 0"],
        )
    });
    add("head_dim_odd", || {
        config(
            "",
            "head_dim",
            json!(15),
            &["`head_dim`", "even", "found 15"],
        )
    });
    add("hidden_is_no_number", || {
        config(
            "",
            "hidden_size",
            json!("64"),
            &["`hidden_size`", "found `64`"],
        )
    });
    add("unknown_family", || {
        config(
            "",
            "base_model_type",
            json!("mamba"),
            &["`base_model_type`", "`llama`", "found `mamba`"],
        )
    });
    add("unknown_activation", || {
        config(
            "",
            "hidden_act",
            json!("relu6"),
            &["`hidden_act`", "`silu`", "found `relu6`"],
        )
    });
    add("unsupported_rope", || {
        let scaling = json!({"rope_type": "yarn", "factor": 4.0});
        config(
            "",
            "rope_scaling",
            scaling,
            &["`rope_scaling.rope_type`", "yarn"],
        )
    });
    add("rope_by_layer_type", || {
        let one = json!({"rope_type": "default", "rope_theta": 10000.0});
        let types = json!({"full_attention": one, "sliding_attention": one});
        for field in ["rope_parameters", "rope_scaling"] {
            let named = format!("`{field}.full_attention`");
            config(
                "",
                field,
                types.clone(),
                &[&named, "all layers", "layer type"],
            )?;
        }
        let mixed = json!({"rope_theta": 1e6, "sliding_attention": one});
        config(
            "",
            "rope_parameters",
            mixed,
            &["`rope_parameters.sliding_attention`"],
        )
    });
    add("partial_rope", || {
        let said = |field: &str, value, words: &[&str]| config("", field, value, words);
        said(
            "partial_rotary_factor",
            json!(0.5),
            &["`partial_rotary_factor`", "found 0.5"],
        )?;
        said(
            "rotary_pct",
            json!(0.25),
            &["`rotary_pct`", "expected 1,", "found 0.25"],
        )?;
        let inside = json!({"rope_theta": 1e4, "partial_rotary_factor": 0.5});
        for field in ["rope_parameters", "rope_scaling"] {
            let named = format!("`{field}.partial_rotary_factor`");
            said(field, inside.clone(), &[&named, "found 0.5"])?;
        }
        Ok(())
    });
    add("attention_that_is_not_causal", || {
        config(
            "",
            "is_causal",
            json!(false),
            &["`is_causal`", "expected true", "found false"],
        )
    });
    add("settings_of_single_layers", || {
        let other = json!({"0": {}, "2": {"intermediate_size": 8}});
        let words = ["`per_layer_config`", "all layers", "layer 2"];
        config("", "per_layer_config", other, &words)
    });
    add("prompt_longer_than_the_context", || {
        let text = "To be, or not to be: that is the question.";
        fails(
            &["run", "builtin", text, "--ctx", "4"],
            1,
            &["at most 4 tokens", "found "],
        )
    });
    add("context_longer_than_the_model", || {
        fails(
            &["run", "builtin", "a", "--ctx", "385"],
            1,
            &["--ctx", "at most 384", "found 385"],
        )
    });
    add("token_outside_the_vocabulary", || {
        fails(&["trace", "--ids", "1 2048"], 1, &["2048", "0 to 2047"])?;
        fails(&["trace", "--ids", "-1"], 1, &["0 to 2047", "found -1"])?;
        fails(&["trace", "--ids", ""], 1, &["--ids", "found none"])?;
        fails(&["trace", "--ids", "one"], 1, &["--ids", "found `one`"])
    });
    add("no_tokenizer", || {
        let plain = Checkpoint::copy_of("llama-plain")?;
        fails(
            &["run", &plain.name(), "text"],
            1,
            &["no tokenizer.json", &plain.name()],
        )?;
        fails(&["trace", &plain.name(), "text"], 1, &["no tokenizer.json"])
    });
    add("nothing_to_start_from", || {
        let plain = Checkpoint::copy_of("llama-plain")?;
        fails(
            &["trace", &plain.name()],
            1,
            &["bos_token_id", "found neither"],
        )
    });
    add("unknown_adapter", || {
        fails(
            &["run", "--adapter", "abacus"],
            1,
            &["no adapter matches `abacus`", "found"],
        )?;
        fails(&["run", "--adapter", "77"], 1, &["no adapter matches `77`"])
    });
    add("more_cycles_than_stored", || {
        fails(
            &["run", "--cycles", "4"],
            1,
            &["--cycles", "1 to 3", "found 4"],
        )
    });
    add("unreadable_prompt_file", || {
        fails(
            &["run", "--file", "/nowhere/prompt"],
            1,
            &["/nowhere/prompt", "No such"],
        )
    });
    add("texts_too_long_for_the_memory", || {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("big");
        std::fs::write(&file, "1".repeat(30_000_000))?;
        let file = &file.display().to_string();
        let host = ["--adapter", "cpu"];
        let fits = "does not fit the context";
        for (arguments, word) in [
            (&["run", "builtin", "-n", "1", "--file", file][..], fits),
            (&["perplexity", "builtin", "--file", file], "`--limit`"),
        ] {
            let run = output(limited(&[arguments, &host[..]].concat(), 1 << 20))?;
            ensure!(run.status == 1, "{arguments:?}: {}", run.stderr);
            ensure!(run.stderr.contains(word), "{arguments:?}: {}", run.stderr);
        }
        let part = ["perplexity", "builtin", "--file", file, "--limit", "50"];
        let run = output(limited(&[&part[..], &host].concat(), 1 << 20))?;
        ensure!(run.status == 0, "{}", run.stderr);
        Ok(())
    });
    add("unwritable_logits_file", || {
        let arguments = [
            "trace",
            "--ids",
            "1",
            "--adapter",
            "cpu",
            "--logits",
            "/nowhere/l",
        ];
        fails(&arguments, 1, &["/nowhere/l"])
    });
    add("git_lfs_pointer", || {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
        let spoilt = Checkpoint::copy_of("llama-plain")?.weights(|_| pointer.to_vec())?;
        refused(
            &spoilt,
            &["model.safetensors", "Git LFS pointer", "git lfs pull"],
        )
    });
    add("index_names_a_missing_shard", || {
        let spoilt = Checkpoint::copy_of("llama-plain")?;
        std::fs::remove_file(spoilt.file("model.safetensors"))?;
        let index = json!({"weight_map": {"model.norm.weight": "model-1-of-2.safetensors"}});
        let file = spoilt.file("model.safetensors.index.json");
        std::fs::write(file, index.to_string())?;
        refused(&spoilt, &["model-1-of-2.safetensors", "No such"])
    });
    add("index_without_a_map", || {
        let spoilt = Checkpoint::copy_of("llama-plain")?;
        std::fs::remove_file(spoilt.file("model.safetensors"))?;
        std::fs::write(spoilt.file("model.safetensors.index.json"), "{}")?;
        refused(&spoilt, &["model.safetensors.index.json", "`weight_map`"])
    });
    add("extra_tensors_are_a_warning", || {
        let odd = Checkpoint::copy_of("llama-plain")?.set("", "num_hidden_layers", json!(2))?;
        let run = run(&["inspect", &odd.name()])?;
        ensure!(run.status == 0, "{}", run.stderr);
        for word in [
            "warning",
            "tensors not used",
            "`model.layers.3.input_layernorm.weight`",
            "2 more",
        ] {
            ensure!(run.stderr.contains(word), "no {word} in {}", run.stderr);
        }
        // Held back where the run ends in an error.
        fails(&["trace", &odd.name(), "--ids", "999"], 1, &["0 to 130"])
    });
    add("nan_in_weights", || {
        let spoilt = Checkpoint::copy_of("llama-key-value")?.weights(|mut b| {
            let at = b.len() - 40;
            b[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
            b
        })?;
        let arguments = ["trace", &spoilt.name(), "--ids", "1", "--adapter", "cpu"];
        fails(
            &arguments,
            1,
            &[
                "model.safetensors",
                "finite values",
                "found NaN or infinity",
            ],
        )
    });
    add("other_formats", || {
        for (name, way) in [
            ("m.gguf", "gguf_file"),
            ("m.bin", "from_pretrained"),
            ("m.pt", "save_pretrained"),
        ] {
            let folder = tempfile::tempdir()?;
            let file = folder.path().join(name);
            std::fs::write(&file, "weights")?;
            fails(&["run", &file.display().to_string()], 1, &[name, way])?;
        }
        Ok(())
    });
    add("folders_of_other_formats", || {
        for (name, way) in [
            ("pytorch_model.bin", "from_pretrained(folder)"),
            ("pytorch_model.bin.index.json", "from_pretrained(folder)"),
            ("consolidated.00.pth", "convert_llama_weights_to_hf"),
            ("model.Q4_K_M.gguf", "gguf_file"),
            ("tf_model.h5", "from_tf"),
        ] {
            let spoilt = Checkpoint::copy_of("llama-plain")?;
            std::fs::remove_file(spoilt.file("model.safetensors"))?;
            std::fs::write(spoilt.file(name), "weights")?;
            std::fs::write(spoilt.file("training_args.bin"), "arguments")?;
            let found = format!("found {name}, which is not read");
            refused(
                &spoilt,
                &["expected model.safetensors", &found, way, "save_pretrained"],
            )?;
            let file = spoilt.file(name).display().to_string();
            fails(&["run", &file], 1, &[name, way, "a safetensors file"])?;
        }
        Ok(())
    });
    add("full_disk", || {
        let arguments = [
            "trace",
            "--ids",
            "1",
            "--adapter",
            "cpu",
            "--logits",
            "/dev/full",
        ];
        fails(&arguments, 1, &["/dev/full", "No space left"])
    });
    add("pack_where_nothing_can_be_written", || {
        fails(
            &["pack", "builtin", "-o", "/nowhere/x.safetensors"],
            1,
            &["/nowhere/x", "No such"],
        )?;
        let folder = tempfile::tempdir()?;
        let name = folder.path().display().to_string();
        let words = [name.as_str(), "a plain file", "found a folder"];
        fails(&["pack", "builtin", "-o", &name], 1, &words)?;
        match std::path::Path::new("/dev/full").exists() {
            true => fails(
                &["pack", "builtin", "-o", "/dev/full"],
                1,
                &["/dev/full", "No space left"],
            ),
            false => Ok(()),
        }
    });
    add("cache_larger_than_the_adapter_binds", || {
        let spoilt = Checkpoint::copy_of("llama-plain")?.set(
            "",
            "max_position_embeddings",
            json!(40_000_000),
        )?;
        let name = spoilt.name();
        let arguments = ["trace", &name, "--ids", "1", "--ctx", "40000000"];
        fails(&arguments, 1, &["does not fit", "at most", "(`--ctx "])
    });
    add("layer_types_without_a_window", || {
        let types = json!([
            "sliding_attention",
            "full_attention",
            "full_attention",
            "full_attention"
        ]);
        let spoilt = Checkpoint::copy_of("llama-plain")?
            .set("", "model_type", json!("qwen2"))?
            .set("", "layer_types", types)?;
        refused(&spoilt, &["`layer_types`", "no sliding window"])
    });
    add("usage", || {
        let wrong: [(&[&str], &str); 11] = [
            (
                &["run", "--no-exit", "--exit-threshold", "0.5"],
                "--no-exit",
            ),
            (&["run", "--exit-threshold", "NaN"], "finite"),
            (
                &["run", "--exit-reduce", "median"],
                "mean, max, min, first, last",
            ),
            (&["run", "--exit-kv", "drop"], "propagate, share"),
            (&["run", "--cycles", "0"], "at least 1"),
            (&["run", "--min-cycles", "0"], "at least 1"),
            (&["run", "--temperature", "-1"], "at least 0"),
            (&["run", "--repeat-penalty", "1e-320"], "0.001 to 1000"),
            (&["run", "--backend", "cuda"], "vulkan, metal, dx12"),
            (&["run", "--frobnicate"], "--frobnicate"),
            (&["walk"], "walk"),
        ];
        wrong
            .iter()
            .try_for_each(|(arguments, word)| fails(arguments, 2, &[word]))
    });
    add("negative_control", || {
        let control = fails(&["inspect"], 1, &[]);
        ensure!(control.is_err(), "a success passed for an error");
        let control = fails(&["run", "/nowhere"], 1, &["no such word"]);
        ensure!(control.is_err(), "a line without the word passed");
        Ok(())
    });
    trials
}
