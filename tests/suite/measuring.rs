//! `bench`, `microbench`, their reports, and profiles.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use ztt_wgpu::engine::{DeviceModel, Drafts, Engine, Logits, Options, Profile};
use ztt_wgpu::gpu::{Gpu, Timestamps};
use ztt_wgpu::kernels::KvType;
use ztt_wgpu::measure::check::against_reference;
use ztt_wgpu::measure::formats::Format;
use ztt_wgpu::measure::report::Report;
use ztt_wgpu::model::synthetic::{Cycled, PRESETS};
use ztt_wgpu::model::{BUILTIN, Fetch, Model};

use crate::adapter;
use crate::compare::same;
use crate::fixtures::trial;
use crate::program::{Checkpoint, json_lines, run, succeed};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("measuring::bench_on_the_reference", bench_on_host),
        adapter::trial("measuring::bench_on_the_adapter", |_| bench_on_adapter()),
        adapter::trial("measuring::bench_of_several_texts", |_| {
            bench_of_several_texts()
        }),
        adapter::trial("measuring::microbench", |_| microbench()),
        adapter::trial("measuring::a_failure_leaves_no_report", |_| {
            no_empty_report()
        }),
        trial(
            "measuring::a_wrong_report_breaks_the_schema",
            schema_control,
        ),
        trial("measuring::formats_carry_the_same_rows", formats),
        trial("measuring::sweep_of_exits", sweep),
        trial("measuring::compare", compare),
        trial("measuring::pictures", pictures),
        adapter::trial("measuring::a_wrong_model_is_not_timed", wrong_model),
        adapter::trial("measuring::bytes_of_a_token", bytes_of_a_token),
        adapter::trial("measuring::profiles_by_any_clock", profiles),
        adapter::trial("measuring::run_profile", |_| run_profile()),
    ]
}

const HOST: [&str; 2] = ["--adapter", "cpu"];

fn schema() -> Result<jsonschema::Validator> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/report.schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    jsonschema::validator_for(&schema).map_err(|e| anyhow::anyhow!("{e}"))
}

/// A report as JSON that keeps to the schema.
fn valid(text: &str) -> Result<Value> {
    let report: Value = serde_json::from_str(text)?;
    let errors: Vec<String> = schema()?
        .iter_errors(&report)
        .map(|e| format!("{}: {e}", e.instance_path()))
        .collect();
    ensure!(errors.is_empty(), "{}", errors.join("\n"));
    Ok(report)
}

fn bench(arguments: &[&str]) -> Result<Value> {
    valid(&succeed(&[&["bench", "-o", "json"], arguments].concat())?)
}

fn tests_of(report: &Value) -> Vec<&str> {
    let rows = report["rows"].as_array().into_iter().flatten();
    rows.filter_map(|row| row["test"].as_str()).collect()
}

fn bench_on_host() -> Result<()> {
    let lists = [
        "-p", "4,9", "-n", "3", "-d", "0,5", "-r", "2", "--cycles", "1,3",
    ];
    let report = bench(&[&lists[..], &HOST].concat())?;
    ensure!(report["adapter"]["type"] == "host", "{}", report["adapter"]);
    let tests = ["pp4", "pp9", "tg3", "pp4 @ d5", "pp9 @ d5", "tg3 @ d5"];
    same("tests", &tests_of(&report), &[tests, tests].concat())?;
    for row in report["rows"].as_array().context("rows")? {
        ensure!(row["samples"].as_array().map(Vec::len) == Some(2), "{row}");
        ensure!(
            row["model"] == "builtin" && row["params"] == 2_017_728,
            "{row}"
        );
        let cycles = row["cycles"].as_f64().context("cycles")?;
        let mean = row["mean_cycles"].as_f64().context("mean")?;
        ensure!(mean <= cycles && (cycles > 1.0 || mean == 1.0), "{row}");
        let has_prompt = row["n_prompt"] != 0;
        ensure!(
            row["time_to_first_token_ms"].is_null() != has_prompt,
            "{row}"
        );
    }
    Ok(())
}

fn bench_on_adapter() -> Result<()> {
    let zeros = ["--stored-cycles", "2", "--head", "4", "--tail", "4"];
    let lengths = ["--synthetic", "tiny", "-p", "6", "-n", "2", "-r", "1"];
    let report = bench(&[&lengths[..], &zeros, &["--exit-threshold", "0,none"]].concat())?;
    ensure!(
        report["peaks"]["read_gb_per_s"].is_number(),
        "{}",
        report["peaks"]
    );
    let rows = report["rows"].as_array().context("rows")?;
    ensure!(rows.len() == 4, "{} rows", rows.len());
    // Exiting after the first cycle, and never.
    for (row, mean) in rows.iter().zip([1.0, 1.0, 2.0, 2.0]) {
        ensure!(row["mean_cycles"] == mean, "{row}");
        ensure!(row["gb_per_s"].is_number(), "{row}");
    }
    for row in [&rows[1], &rows[3]] {
        ensure!(row["submissions_per_token"] == 1.0, "{row}");
        ensure!(row["read_backs_per_token"] == 1.0, "{row}");
    }
    // 12 effective layers of 6 dispatches (5 where a short cache is not split), an embedding, two
    // scores, two of the logits, three that draw; and one for the second of two tokens, which is
    // known to the device alone.
    let n = rows[3]["dispatches_per_token"].as_f64();
    ensure!(n == Some(80.5) || n == Some(68.5), "{}", rows[3]);
    Ok(())
}

/// Weights made on the device, and several texts at once.
fn bench_of_several_texts() -> Result<()> {
    let tests = [
        "-p",
        "6",
        "-n",
        "2",
        "-d",
        "3",
        "-r",
        "1",
        "--parallel",
        "1,3",
    ];
    let names = ["pp6 @ d3", "pp6 @ d3 x 3", "tg2 @ d3", "tg2 @ d3 x 3"];
    let synthetic = ["--synthetic", "tiny", "--on-device", "--quant", "none,q8_0"];
    let report = bench(&[&synthetic[..], &tests].concat())?;
    same("tests", &tests_of(&report), &[names, names].concat())?;
    for row in report["rows"].as_array().context("rows")? {
        let n_parallel = row["n_parallel"].as_f64().context("n_parallel")?;
        let is_prompt = row["n_prompt"] == 6;
        // A pass takes the whole prompt of every text, or one token of each.
        let passes = if is_prompt { 6.0 } else { 1.0 } * n_parallel;
        let submissions = row["submissions_per_token"]
            .as_f64()
            .context("submissions")?;
        // A short prompt of one text may be run token by token.
        let expected = [1.0 / passes, 1.0];
        ensure!(expected.contains(&submissions), "{row}");
    }
    let report = bench(&[&tests[..], &HOST].concat())?;
    same("tests", &tests_of(&report), &names)?;
    let refused = run(&[&["bench"], &synthetic[..], &HOST].concat())?;
    ensure!(
        refused.status == 1 && refused.stderr.contains("--on-device: expected a device"),
        "{}",
        refused.stderr
    );
    Ok(())
}

fn microbench() -> Result<()> {
    let filters = [
        "1 MiB",
        "fma",
        "skipped",
        "dispatch",
        "barrier",
        "sum",
        "submission",
    ];
    let more = [
        "read-back",
        "decode",
        "prefill exit",
        "prefill pack_rows",
        "-r",
        "2",
        "-o",
        "json",
        "-d",
        "9",
    ];
    let arguments = [&["microbench"][..], &filters, &more].concat();
    let run = run(&arguments)?;
    // Two samples on a busy machine may miss the peak: that is said, after the report.
    let is_too_good = run.stderr.contains("the measurement is wrong");
    ensure!(run.status == i32::from(is_too_good), "{}", run.stderr);
    ensure!(run.stderr.contains("spread"), "{}", run.stderr);
    let report = valid(&run.stdout)?;
    let tests = tests_of(&report);
    for test in [
        "read 1 MiB strided",
        "write 1 MiB chunks",
        "copy 1 MiB strided",
        "fma_f32",
        "dispatch",
        "skipped by zero indirect count",
        "skipped by early return",
        "submission",
        "read-back",
        "barrier",
        "workgroup_sum",
        "decode qkv_proj",
        "decode o_proj",
        "decode lm_head",
        "decode exit",
        "decode kv_copy",
        "decode fill_kv_proj",
        "decode layer_norm",
        "prefill exit",
    ] {
        ensure!(tests.contains(&test), "no `{test}` among {tests:?}");
    }
    ensure!(!tests.contains(&"prefill attention"), "not asked for");
    ensure!(!tests.iter().any(|t| t.contains("4 MiB")), "{tests:?}");
    // Kernels of the adapter's class, and of no other.
    let rows = report["rows"].as_array().context("rows")?;
    let measured = |name: &str| rows.iter().any(|row| row["kernel"] == name);
    let of_textures = measured("matvec_texture");
    let both = ["exit", "layer_norm", "rms_norm"];
    let [buffers, textures] = [
        ["matvec", "attention", "kv_copy", "embed"],
        [
            "matvec_texture",
            "attention_texture",
            "kv_copy_texture",
            "embed_texture",
        ],
    ];
    let (mine, other) = match of_textures {
        true => (textures, buffers),
        false => (buffers, textures),
    };
    for kernel in both.into_iter().chain(mine) {
        let alike = format!("{kernel}_subgroup");
        ensure!(
            measured(kernel) || measured(&alike),
            "no rows of `{kernel}`"
        );
    }
    for kernel in other {
        ensure!(!measured(kernel), "rows of `{kernel}`");
    }
    // Two shapes of one role are two tests.
    for row in rows {
        let samples = row["samples"].as_array().context("samples")?;
        ensure!(samples.len() == 2, "{row}");
    }
    ensure!(
        !of_textures || tests.contains(&"prefill pack_rows 2"),
        "{tests:?}"
    );
    Ok(())
}

/// A run that fails leaves no empty report.
fn no_empty_report() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let page = folder.path().join("report.html");
    let html = page.to_str().context("path")?;
    let failed = run(&["microbench", "no such test", "--html", html])?;
    ensure!(failed.status == 1, "{}", failed.stderr);
    ensure!(
        failed.stderr.contains("no test is called"),
        "{}",
        failed.stderr
    );
    ensure!(!page.exists(), "an empty report");
    Ok(())
}

/// A report as `bench` would print it.
fn report(adapter: &str, samples: &[f64]) -> Value {
    let stats = serde_json::to_value(ztt_wgpu::measure::stats::Stats::new(samples));
    let mut row = stats.unwrap_or_default();
    let fields = json!({
        "test": "read 1 MiB strided", "unit": "GB/s", "kind": "device", "probe": "read",
        "shape": "strided", "working_set_bytes": 1 << 20, "clock": "wall",
        "wall_median": samples[0], "samples": samples,
    });
    for (key, value) in fields.as_object().into_iter().flatten() {
        row[key] = value.clone();
    }
    json!({
        "tool": "microbench", "version": "0.1.0",
        "adapter": {"name": adapter, "backend": "vulkan", "driver": "some driver 1",
                    "type": "discrete GPU", "software": false},
        "peaks": {"read_gb_per_s": 1.0, "write_gb_per_s": null, "copy_gb_per_s": null,
                  "f32_gflop_per_s": null, "f16_gflop_per_s": null, "matrix_gflop_per_s": null},
        "rows": [row],
    })
}

fn schema_control() -> Result<()> {
    let right = report("A", &[1.0, 2.0]);
    valid(&right.to_string())?;
    for (pointer, value) in [
        ("/rows/0/samples", json!([])),
        ("/rows/0/unit", json!("MB/s")),
        ("/rows/0/median", json!("fast")),
        ("/rows/0/kind", json!("kernel")),
        ("/rows/0/probe", json!(null)),
        ("/rows", json!([])),
        ("/adapter/type", json!("toaster")),
        ("/peaks/read_gb_per_s", json!(-1)),
    ] {
        let mut wrong = right.clone();
        *wrong.pointer_mut(pointer).context("pointer")? = value;
        ensure!(valid(&wrong.to_string()).is_err(), "{pointer} passes");
    }
    let mut more = right.clone();
    more["rows"][0]["surprise"] = json!(1);
    ensure!(valid(&more.to_string()).is_err(), "an unknown field passes");
    Ok(())
}

/// One report in all formats, each read back.
fn formats() -> Result<()> {
    let text = succeed(
        &[
            &["bench", "-o", "json", "-p", "3,5", "-n", "2", "-r", "3"],
            &HOST[..],
        ]
        .concat(),
    )?;
    let report: Report = serde_json::from_str(&text)?;
    // Name, median and samples of each row.
    type Row = (String, String, Vec<f64>);
    let expected: Vec<Row> = report
        .rows
        .iter()
        .map(|row| {
            (
                row.test.clone(),
                row.stats.median.to_string(),
                row.samples.clone(),
            )
        })
        .collect();
    ensure!(expected.len() == 3, "{} rows", expected.len());
    let of_json = |row: &Value| -> Option<Row> {
        let samples = row["samples"].as_array()?.iter().filter_map(Value::as_f64);
        let median = row["median"].as_f64()?.to_string();
        Some((row["test"].as_str()?.to_string(), median, samples.collect()))
    };
    let written: Value = serde_json::from_str(&Format::Json.write(&report)?)?;
    let rows: Option<Vec<Row>> = written["rows"]
        .as_array()
        .context("rows")?
        .iter()
        .map(of_json)
        .collect();
    ensure!(rows.as_ref() == Some(&expected), "json: {rows:?}");
    let lines = json_lines(&Format::JsonLines.write(&report)?)?;
    let rows: Option<Vec<Row>> = lines.iter().map(of_json).collect();
    ensure!(rows.as_ref() == Some(&expected), "jsonl: {rows:?}");
    ensure!(
        lines[0]["adapter"] == "cpu" && lines[0]["tool"] == "bench",
        "{}",
        lines[0]
    );

    let csv_text = Format::Csv.write(&report)?;
    let mut reader = csv::Reader::from_reader(csv_text.as_bytes());
    let header = reader.headers()?.clone();
    let column = |name: &str| {
        header
            .iter()
            .position(|h| h == name)
            .with_context(|| name.to_string())
    };
    let (test, median, samples) = (column("test")?, column("median")?, column("samples")?);
    let mut rows: Vec<Row> = Vec::new();
    for record in reader.records() {
        let record = record?;
        let parsed: Result<Vec<f64>, _> = record[samples].split(' ').map(str::parse).collect();
        rows.push((
            record[test].to_string(),
            record[median].to_string(),
            parsed?,
        ));
    }
    ensure!(rows == expected, "csv: {rows:?}");

    let table = Format::Markdown.write(&report)?;
    let mut rows = table
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells
                .map(|cell| cell.trim().to_string())
                .collect::<Vec<_>>()
        });
    let header = rows.next().context("no table")?;
    let column = |name: &str| {
        header
            .iter()
            .position(|h| h == name)
            .with_context(|| name.to_string())
    };
    let (test, median) = (column("test")?, column("median")?);
    let rows: Vec<Vec<String>> = rows.skip(1).collect();
    ensure!(rows.len() == expected.len(), "md: {} rows", rows.len());
    for (row, (name, exact, _)) in rows.iter().zip(&expected) {
        let (shown, exact): (f64, f64) = (row[median].parse()?, exact.parse()?);
        ensure!(
            row[test] == *name && (shown / exact - 1.0).abs() < 1e-3,
            "md: {row:?}"
        );
    }
    Ok(())
}

fn sweep() -> Result<()> {
    let report = bench(
        &[
            &["--sweep-exit", "-p", "8", "-n", "0", "-r", "1"],
            &HOST[..],
        ]
        .concat(),
    )?;
    let rows = report["rows"].as_array().context("rows")?;
    ensure!(rows.len() == 11, "{} rows", rows.len());
    let mean = |row: &Value| row["mean_cycles"].as_f64().unwrap_or(0.0);
    let rising = rows.windows(2).all(|pair| mean(&pair[0]) <= mean(&pair[1]));
    ensure!(
        rising && mean(&rows[0]) == 1.0 && mean(&rows[10]) == 3.0,
        "{rows:?}"
    );
    ensure!(rows[10]["exit_threshold"].is_null(), "{}", rows[10]);
    Ok(())
}

fn compare() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str, report: &Value| -> Result<String> {
        let file = folder.path().join(name);
        std::fs::write(&file, report.to_string())?;
        Ok(file.display().to_string())
    };
    let slow = file("slow.json", &report("A", &[1.0, 1.01, 0.99]))?;
    let fast = file("fast.json", &report("A", &[2.0, 2.02, 1.98]))?;
    let noisy = file("noisy.json", &report("A", &[1.0, 2.0, 0.5]))?;
    let single = file("single.json", &report("A", &[3.0]))?;
    let other = file("other.json", &report("B", &[2.0, 2.0]))?;
    let mut times = report("A", &[2.0, 2.02, 1.98]);
    times["rows"][0]["unit"] = json!("us");
    let shorter = file("shorter.json", &times)?;
    times["rows"][0]["median"] = json!(4.0);
    let longer = file("longer.json", &times)?;
    for (a, b, ratio, verdict) in [
        (&slow, &fast, "2.000", "faster"),
        (&fast, &slow, "0.500", "slower"),
        (&slow, &noisy, "1.000", "within noise"),
        (&slow, &single, "3.000", "cannot say"),
        (&longer, &shorter, "2.000", "faster"),
    ] {
        let text = succeed(&["bench", "compare", a, b])?;
        let last = text.lines().last().unwrap_or("");
        ensure!(
            last.contains(ratio) && last.contains(verdict),
            "{last}: {verdict}"
        );
    }
    let refused = run(&["bench", "compare", &slow, &other])?;
    ensure!(
        refused.status == 1 && refused.stderr.contains("--force"),
        "{}",
        refused.stderr
    );
    succeed(&["bench", "compare", &slow, &other, "--force"])?;
    let wrong = file("wrong.json", &json!({"rows": []}))?;
    let refused = run(&["bench", "compare", &slow, &wrong])?;
    ensure!(
        refused.status == 1 && refused.stderr.contains("wrong.json"),
        "{}",
        refused.stderr
    );
    Ok(())
}

fn pictures() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (svg, html) = (at("figures.svg"), at("report.html"));
    let files = ["--plot", &svg, "--html", &html];
    succeed(
        &[
            &["bench", "-p", "4", "-n", "2", "-r", "1"],
            &files[..],
            &HOST,
        ]
        .concat(),
    )?;
    let svg = std::fs::read_to_string(svg)?;
    ensure!(svg.starts_with("<svg") && svg.contains("tg2"), "{svg:.80}");
    let html = std::fs::read_to_string(html)?;
    for part in ["<!doctype html>", "<svg", "pp4", "tg2"] {
        ensure!(html.to_lowercase().contains(part), "no {part}");
    }
    // Nothing is fetched: the only address is the name of SVG's namespace.
    let addresses = html.matches("://").count();
    ensure!(
        addresses == html.matches("http://www.w3.org/2000/svg").count(),
        "{addresses}"
    );
    Ok(())
}

/// The weights on the device are another model's.
fn wrong_model(gpu: Arc<Gpu>) -> Result<()> {
    let spoilt = Checkpoint::copy_of("llama-key-value")?.weights(|mut bytes| {
        // The signs of some values in the middle.
        let n = bytes.len();
        let values = bytes[n / 2..].chunks_exact_mut(4).take(2000);
        values.for_each(|value| value[3] ^= 0x80);
        bytes
    })?;
    let intact = Checkpoint::copy_of("llama-key-value")?;
    let intact_model = Model::open(&intact.name(), Fetch::Never)?;
    let spoilt_model = Model::open(&spoilt.name(), Fetch::Never)?;
    let upload = |model| {
        pollster::block_on(DeviceModel::upload(Arc::clone(&gpu), model, &mut |_| ())).map(Arc::new)
    };
    let on_device = upload(&intact_model)?;
    against_reference(&intact_model, &on_device)?;
    let Err(error) = against_reference(&spoilt_model, &on_device) else {
        anyhow::bail!("a wrong model passes");
    };
    ensure!(
        error
            .to_string()
            .contains("expected the reference's logits"),
        "{error}"
    );
    Ok(())
}

fn engine<'m>(gpu: &Arc<Gpu>, model: &'m Model) -> Result<Engine<'m>> {
    let device_model =
        pollster::block_on(DeviceModel::upload(Arc::clone(gpu), model, &mut |_| ()))?;
    let options = Options {
        cap: None,
        exit: model.config.exit(),
        n_sequences: 1,
        n_ctx: 64,
        kv_type: KvType::F16,
        logits: Logits::Last,
        drafts: Drafts::NONE,
    };
    Ok(Engine::on_device(model, &Arc::new(device_model), &options)?)
}

/// A token reads every weight once, a cycled layer's once a cycle, and little else.
fn bytes_of_a_token(gpu: Arc<Gpu>) -> Result<()> {
    let preset = &PRESETS[0];
    for cycles in [1, 3] {
        let cycled = Cycled {
            head: 1,
            tail: 1,
            cycles,
        };
        let model = Model::synthetic(preset, Some(cycled))?;
        let mut engine = engine(&gpu, &model)?;
        pollster::block_on(engine.forward(&[7], Logits::Last))?;
        let layer = 2 * preset.hidden * (preset.heads + preset.kv_heads) * preset.head_dim
            + 3 * preset.hidden * preset.intermediate;
        let n_layers = 2 + cycles * (preset.layers - 2);
        let weights = 2 * (n_layers * layer + preset.vocab * preset.hidden) as u64;
        let moved = engine.work().moved;
        let more = moved.read as f64 / weights as f64;
        ensure!((1.0..1.02).contains(&more), "{} of {weights}", moved.read);
        ensure!(moved.written < weights / 50, "{} written", moved.written);
        // Two operations a weight of 2 bytes.
        let flops = moved.flops as f64 / weights as f64;
        ensure!((1.0..1.02).contains(&flops), "{} operations", moved.flops);
    }
    Ok(())
}

/// Timing does not change the dispatches nor the logits, with any kind of timestamps.
fn profiles(gpu: Arc<Gpu>) -> Result<()> {
    let model = Model::open(BUILTIN, Fetch::Never)?;
    let ids = [[4u32, 5, 6].as_slice(), &[7]];
    let mut expected: Option<(Vec<_>, Vec<f32>)> = None;
    let all = [
        Timestamps::InsidePasses,
        Timestamps::PassBoundaries,
        Timestamps::None,
    ];
    let best = gpu.timestamps();
    let usable = all.iter().skip_while(|t| **t != best);
    for &timestamps in usable {
        let mut engine = engine(&gpu, &model)?;
        engine.start_profile(Some(timestamps))?;
        let mut logits = Vec::new();
        let mut parts = Vec::new();
        for ids in ids {
            let outputs = pollster::block_on(engine.forward(ids, Logits::Last))?;
            logits = outputs.last().context("no output")?.logits.clone();
            let profile: Profile = engine.take_profile().context("no profile")?;
            ensure!(profile.device_seconds() > 0.0, "{timestamps:?}: no time");
            ensure!(
                profile.entries.iter().all(|e| e.seconds >= 0.0),
                "{profile:?}"
            );
            let entries = profile.entries.iter();
            parts.extend(entries.map(|e| (e.phase, e.kernel, e.role, e.n_dispatches)));
        }
        match &expected {
            None => expected = Some((parts, logits)),
            Some((known_parts, known_logits)) => {
                same(&format!("{timestamps:?}: dispatches"), &parts, known_parts)?;
                same(&format!("{timestamps:?}: logits"), &logits, known_logits)?;
            }
        }
    }
    Ok(())
}

/// The parts are all there, and the kernels of a phase make up its time.
fn run_profile() -> Result<()> {
    let arguments = [
        "run",
        "builtin",
        "ROMEO:",
        "-n",
        "12",
        "--seed",
        "1",
        "--json",
        "--profile",
    ];
    let run = run(&arguments)?;
    ensure!(run.status == 0, "{}", run.stderr);
    for word in ["profile", "cycle 3", "logits", "host", "lm_head"] {
        ensure!(run.stderr.contains(word), "no {word} in {}", run.stderr);
    }
    let lines = json_lines(&run.stdout)?;
    let profile = &lines.last().context("no summary")?["summary"]["profile"];
    ensure!(profile["prompt"]["tokens"] == 2, "{profile}");
    let generation = &profile["generation"];
    ensure!(generation["tokens"] == 11, "{generation}");
    let list = |key: &str| -> Vec<(String, f64)> {
        let parts = generation[key].as_array().into_iter().flatten();
        let part = |p: &Value| Some((p["name"].as_str()?.to_string(), p["seconds"].as_f64()?));
        parts.filter_map(part).collect()
    };
    let phases = list("phases");
    let names: Vec<&str> = phases.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "head", "cycle 1", "cycle 2", "cycle 3", "tail", "logits", "host",
    ];
    same("phases", &names, &expected)?;
    let sum = |parts: &[(String, f64)]| parts.iter().map(|(_, s)| s).sum::<f64>();
    let host = phases.last().map_or(0.0, |(_, s)| *s);
    let (by_phase, by_kernel) = (sum(&phases) - host, sum(&list("kernels")));
    ensure!(
        (by_phase / by_kernel - 1.0).abs() < 1e-6,
        "{by_phase} and {by_kernel}"
    );
    let wall = generation["wall_seconds"].as_f64().context("wall")?;
    ensure!(
        wall > 0.0 && phases.iter().all(|(_, s)| *s >= 0.0),
        "{generation}"
    );
    Ok(())
}
