//! `perplexity` and `calibrate`, and the evaluation behind them.
//!
//! `tests/fixtures/classics-val.txt` is the beginning of the embedded model's validation text: The
//! Taming of the Shrew, by William Shakespeare, as the tiny Shakespeare file has it. It is in the
//! public domain.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use pollster::block_on;
use serde_json::Value;
use tempfile::TempDir;
use ztt_wgpu::engine::{DeviceModel, Drafts, Engine, Logits, Options};
use ztt_wgpu::evaluate::calibrate::{Bound, calibrate};
use ztt_wgpu::evaluate::figures::Figures;
use ztt_wgpu::evaluate::score::{Evaluation, evaluate};
use ztt_wgpu::evaluate::sweep::{Setting, Trials, settings};
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::kernels::KvType;
use ztt_wgpu::measure::formats::Format;
use ztt_wgpu::measure::quality::QualityReport;
use ztt_wgpu::model::config::{ExitRule, KvPolicy};
use ztt_wgpu::model::{BUILTIN, Fetch, Model};

use crate::adapter;
use crate::compare::same;
use crate::errors::fails;
use crate::fixtures::{path, trial};
use crate::program::{Checkpoint, command, output, run, succeed};
use crate::thorough;

/// Tokens that the adapter and the reference both score, at every setting; a sample is a third of
/// them. This variable asks for more, of the 2,800 there are.
const TOKENS_VARIABLE: &str = "ZTT_TEXT_TOKENS";
const N_TOKENS: usize = 400;

const PROPAGATE: KvPolicy = KvPolicy::Propagate;
const SHARE: KvPolicy = KvPolicy::Share;

pub fn trials() -> Vec<Trial> {
    vec![
        adapter::trial("evaluate::adapter_at_full_depth", |gpu| {
            agree(gpu, &[Setting::Depth(3)])
        }),
        adapter::trial("evaluate::adapter_with_exits_propagate", |gpu| {
            agree(gpu, &exits(PROPAGATE))
        }),
        adapter::trial("evaluate::adapter_with_exits_share", |gpu| {
            agree(gpu, &exits(SHARE))
        }),
        adapter::trial("evaluate::a_sweep_builds_one_engine", |gpu| {
            one_engine(&gpu)
        }),
        trial("evaluate::perplexity_by_hand", by_hand),
        trial("evaluate::formats_carry_the_same_rows", formats),
        trial("evaluate::rows_follow_the_flags", rows),
        trial("evaluate::text_from_a_pipe", pipe),
        trial("evaluate::picture", picture),
        trial("evaluate::a_choice_keeps_its_bound", bound),
        trial("evaluate::calibrate_writes_the_exit_block_alone", write),
        trial("evaluate::calibrate_refuses", refused),
        trial("evaluate::bad_texts", bad_texts),
    ]
}

fn exits(kv: KvPolicy) -> Vec<Setting> {
    let exit = |threshold| Setting::Exit { threshold, kv };
    [0.2, 0.4, 0.6].map(exit).to_vec()
}

fn text() -> String {
    path("classics-val.txt").display().to_string()
}

fn builtin() -> Result<Model> {
    Ok(Model::open(BUILTIN, Fetch::Never)?)
}

/// The first tokens of the text.
fn ids(model: &Model, n: usize) -> Result<Vec<u32>> {
    let ids = model
        .tokenizer()?
        .encode(&std::fs::read_to_string(text())?)?;
    ensure!(ids.len() >= n, "{} tokens", ids.len());
    Ok(ids[..n].to_vec())
}

fn options(model: &Model, n_ctx: usize) -> Options {
    Options {
        cap: None,
        exit: model.config.exit(),
        n_sequences: 1,
        n_ctx,
        kv_type: KvType::F32,
        logits: Logits::All,
        drafts: Drafts::NONE,
    }
}

/// Options that ask for a setting from the start.
fn at(setting: Setting, base: &Options) -> Options {
    let (cap, threshold, kv) = match setting {
        Setting::Depth(cycles) => (Some(cycles), None, base.exit.kv),
        Setting::Exit { threshold, kv } => (base.cap, Some(threshold), kv),
    };
    Options {
        cap,
        exit: ExitRule {
            threshold,
            kv,
            ..base.exit.clone()
        },
        ..base.clone()
    }
}

/// Nine thresholds with both policies beside every depth: one engine, and the figures that each
/// setting has on an engine of its own.
fn one_engine(gpu: &Arc<Gpu>) -> Result<()> {
    let model = builtin()?;
    let ids = ids(&model, 120)?;
    let base = options(&model, 64);
    let mut progress = |_| ();
    let upload = DeviceModel::upload(Arc::clone(gpu), &model, &mut progress);
    let device = Arc::new(block_on(upload)?);
    let n_engines = Cell::new(0);
    let trials = Trials {
        ids: &ids,
        base: &base,
        start: &|options: &Options| {
            n_engines.set(n_engines.get() + 1);
            Engine::on_device(&model, &device, options)
        },
        progress: &|_| (),
        engine: &RefCell::default(),
    };
    let thresholds: Vec<f64> = (1..10).map(|tenth| f64::from(tenth) / 10.0).collect();
    let settings = settings(3, &thresholds, &[PROPAGATE, SHARE]);
    let rows = block_on(trials.sweep(3, &settings))?;
    same("engines", &[n_engines.get()], &[1])?;
    same("rows", &[rows.len()], &[3 + 2 * 9])?;
    let full = score(&model, Some(&device), &ids, &at(Setting::Depth(3), &base))?;
    for (setting, figures) in rows {
        let alone = score(&model, Some(&device), &ids, &at(setting, &base))?;
        let expected = Figures::new(&alone, &full);
        let what = format!("{setting:?}");
        same(&what, &[figures.nats], &[expected.nats])?;
        same(&what, &[figures.top1_agreement], &[expected.top1_agreement])?;
        same(&what, &figures.exits, &expected.exits)?;
    }
    Ok(())
}

/// The text at one setting; without a device on the reference.
fn score(
    model: &Model,
    device: Option<&Arc<DeviceModel>>,
    ids: &[u32],
    options: &Options,
) -> Result<Evaluation> {
    let mut engine = match device {
        Some(device) => Engine::on_device(model, device, options)?,
        None => Engine::on_host(model, options)?,
    };
    Ok(block_on(evaluate(&mut engine, ids, &|_| ()))?)
}

/// The adapter finds the perplexity that the reference does.
fn agree(gpu: Arc<Gpu>, settings: &[Setting]) -> Result<()> {
    let model = builtin()?;
    let device = Arc::new(pollster::block_on(DeviceModel::upload(
        gpu,
        &model,
        &mut |_| (),
    ))?);
    let n = match std::env::var(TOKENS_VARIABLE) {
        Ok(n) => n.parse().context(TOKENS_VARIABLE)?,
        Err(_) if thorough::is_on() => N_TOKENS,
        Err(_) => N_TOKENS / 3,
    };
    let ids = ids(&model, n)?;
    for setting in settings {
        let options = at(*setting, &options(&model, 384));
        let on_device = score(&model, Some(&device), &ids, &options)?;
        let expected = score(&model, None, &ids, &options)?;
        let [found, expected] = [&on_device, &expected].map(|e| Figures::new(e, e));
        let error = found.perplexity / expected.perplexity - 1.0;
        // Written so that a NaN fails.
        ensure!(
            error.abs() < 1e-4,
            "{setting:?}: perplexity {}, expected {}",
            found.perplexity,
            expected.perplexity
        );
        let cycles = found.mean_cycles - expected.mean_cycles;
        ensure!(cycles.abs() < 0.01, "{setting:?}: {cycles} cycles more");
    }
    Ok(())
}

/// The probabilities of a few tokens from the logits themselves, in two windows of 24.
fn by_hand() -> Result<()> {
    let model = builtin()?;
    let ids = ids(&model, 36)?;
    let options = options(&model, 24);
    let mut expected = Vec::new();
    for (start, end, first_scored) in [(0, 24, 1), (12, 36, 24)] {
        let mut engine = Engine::on_host(&model, &options)?;
        let outputs = block_on(engine.forward(&ids[start..end], Logits::All))?;
        for target in first_scored..end {
            let output = &outputs[target - 1 - start];
            let likelihood = |id: usize| f64::from(output.logits[id]).exp();
            let all: f64 = (0..output.logits.len()).map(likelihood).sum();
            let p = likelihood(ids[target] as usize) / all;
            expected.push((-p.ln(), output.cycles));
        }
    }
    let found = score(&model, None, &ids, &options)?;
    ensure!(found.scored.len() == 35, "{} scored", found.scored.len());
    for (found, (nats, cycles)) in found.scored.iter().zip(&expected) {
        ensure!((found.nats - nats).abs() < 1e-9, "{found:?}: {nats}");
        ensure!(found.cycles == *cycles, "{found:?}: {cycles}");
    }
    let figures = Figures::new(&found, &found);
    let mean = expected.iter().map(|(nats, _)| nats).sum::<f64>() / 35.0;
    ensure!((figures.perplexity / mean.exp() - 1.0).abs() < 1e-9);
    // Windows of 23 after the first, and of 23 after the second: the last is only predicted.
    ensure!(found.n_positions == 46, "{} ran", found.n_positions);
    Ok(())
}

/// `perplexity` on the reference, as JSON.
fn perplexity(flags: &[&str]) -> Result<QualityReport> {
    let text = text();
    let rest = ["--file", &text, "--adapter", "cpu", "-o", "json"];
    let json = succeed(&[&["perplexity"], flags, &rest].concat())?;
    Ok(serde_json::from_str(&json)?)
}

fn formats() -> Result<()> {
    let report = perplexity(&["--limit", "40", "--exit-threshold", "0.2,0.5"])?;
    ensure!(report.rows.len() == 3 + 4, "{} rows", report.rows.len());
    let key = |threshold: String, policy: &str, nats: f64| {
        format!("{threshold} {policy} {nats:.4}").trim().to_string()
    };
    let threshold = |t: Option<f64>| t.map_or(String::new(), |t| t.to_string());
    let expected: Vec<String> = report
        .rows
        .iter()
        .map(|row| key(threshold(row.threshold), &row.policy, row.figures.nats))
        .collect();

    let csv = report.write(Format::Csv)?;
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let header = reader.headers()?.clone();
    let column = |name: &str| {
        let found = header.iter().position(|h| h == name);
        found.with_context(|| name.to_string())
    };
    let (at, policy, nats) = (column("threshold")?, column("policy")?, column("nats")?);
    column("adapter")?;
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record?;
        rows.push(key(
            record[at].into(),
            &record[policy],
            record[nats].parse()?,
        ));
    }
    same("csv", &rows, &expected)?;

    let table = report.write(Format::Markdown)?;
    let lines: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let column = |name: &str| {
        let found = lines[0].iter().position(|h| *h == name);
        found.with_context(|| name.to_string())
    };
    let (at, policy, nats) = (column("threshold")?, column("policy")?, column("nats")?);
    let mut rows = Vec::new();
    for row in &lines[2..] {
        let threshold = row[at].replace("none", "");
        rows.push(key(threshold, row[policy], row[nats].parse()?));
    }
    same("md", &rows, &expected)?;

    let lines = report.write(Format::JsonLines)?;
    ensure!(lines.lines().count() == expected.len(), "jsonl: {lines}");
    Ok(())
}

/// Which settings run, and what must hold between them.
fn rows() -> Result<()> {
    let short = ["--limit", "40", "--ctx", "32"];
    let report = perplexity(&[&short[..], &["--sweep"]].concat())?;
    ensure!(report.rows.len() == 3 + 18, "{} rows", report.rows.len());
    ensure!((report.n_tokens, report.n_ctx) == (40, 32));
    for row in &report.rows {
        let figures = &row.figures;
        let total: usize = figures.exits.iter().sum();
        ensure!(total == 39 && figures.exits.len() == 3, "{row:?}");
        ensure!((figures.perplexity.ln() - figures.nats).abs() < 1e-9);
        ensure!((0.0..=1.0).contains(&figures.top1_agreement), "{row:?}");
        if row.policy == "fixed" {
            ensure!(figures.mean_cycles == row.cycles as f64, "{row:?}");
        }
    }
    let full = &report.rows[2];
    ensure!(full.figures.top1_agreement == 1.0, "{full:?}");

    let one = perplexity(&[&short[..], &["--exit-threshold", "-1"]].concat())?;
    ensure!(one.rows.len() == 2, "{:?}", one.rows);
    let shallow = &report.rows[0].figures;
    same("depth 1", &[one.rows[1].figures.nats], &[shallow.nats])?;
    let capped = perplexity(&[&short[..], &["--cycles", "2", "--no-exit"]].concat())?;
    ensure!(capped.rows.len() == 1, "{:?}", capped.rows);
    let second = &report.rows[1].figures;
    same("depth 2", &[capped.rows[0].figures.nats], &[second.nats])?;
    let share = ["--sweep", "--exit-threshold", "0.3", "--exit-kv", "share"];
    let share = perplexity(&[&short[..], &share].concat())?;
    let policies: Vec<_> = share.rows.iter().map(|r| r.policy.as_str()).collect();
    same("policies", &policies, &["fixed", "fixed", "fixed", "share"])
}

fn pipe() -> Result<()> {
    let limit = [
        "--limit",
        "20",
        "--adapter",
        "cpu",
        "-o",
        "json",
        "--no-exit",
    ];
    let mut piped = command(&[&["perplexity", "--file", "-"], &limit[..]].concat());
    piped.write_stdin(std::fs::read_to_string(text())?);
    let piped: QualityReport = serde_json::from_str(&output(piped)?.stdout)?;
    let given = perplexity(&["--limit", "20", "--no-exit"])?;
    let nats = |report: &QualityReport| report.rows[0].figures.nats;
    same("nats", &[nats(&piped)], &[nats(&given)])
}

fn picture() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let svg = folder.path().join("quality.svg").display().to_string();
    let flags = ["--limit", "20", "--exit-threshold", "0.25,0.5"];
    perplexity(&[&flags[..], &["--plot", &svg]].concat())?;
    let svg = std::fs::read_to_string(svg)?;
    let words = ["<svg", "builtin", "0.25\n", "3 cycles\n", "exits, share"];
    for word in words {
        ensure!(svg.contains(word), "no {word} in {svg:.300}");
    }
    Ok(())
}

/// The choice keeps the bound on the first half, and a hundredth less does not.
fn bound() -> Result<()> {
    let model = builtin()?;
    let ids = ids(&model, 160)?;
    let base = options(&model, 96);
    let trials = Trials {
        ids: &ids,
        base: &base,
        start: &|options: &Options| Engine::on_host(&model, options),
        progress: &|_| (),
        engine: &RefCell::default(),
    };
    let bound = Bound {
        n_cycles: 3,
        policies: &[PROPAGATE],
        max_rise_percent: 2.0,
    };
    let found = block_on(calibrate(&trials, &bound))?.context("no choice")?;
    let (first, second) = ids.split_at(80);
    let rise = |ids: &[u32], threshold: f64| -> Result<f64> {
        let exit = Setting::Exit {
            threshold,
            kv: found.kv,
        };
        let early = score(&model, None, ids, &at(exit, &base))?;
        let full = score(&model, None, ids, &at(Setting::Depth(3), &base))?;
        let [early, full] = [&early, &full].map(|e| Figures::new(e, e));
        Ok(100.0 * (early.perplexity / full.perplexity - 1.0))
    };
    let kept = rise(first, found.threshold)?;
    ensure!(kept <= 2.0, "{kept} %");
    ensure!((kept - found.first.rise_percent()).abs() < 1e-6);
    let reported = rise(second, found.threshold)?;
    ensure!((reported - found.second.rise_percent()).abs() < 1e-6);
    let lower = rise(first, found.threshold - 0.01)?;
    ensure!(lower > 2.0, "{lower} % below {}", found.threshold);
    ensure!(found.first.choice.mean_cycles < 3.0);
    Ok(())
}

/// The embedded model as a folder.
fn folder() -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/model/builtin/ztt-classics.safetensors"
    );
    std::fs::copy(source, folder.path().join("model.safetensors"))?;
    for text in builtin()?.texts {
        std::fs::write(folder.path().join(text.name), text.text)?;
    }
    Ok(folder)
}

fn write() -> Result<()> {
    let folder = folder()?;
    let names = || -> Result<Vec<_>> {
        let files = std::fs::read_dir(folder.path())?;
        let mut names: Vec<_> = files
            .map(|file| Ok(file?.file_name()))
            .collect::<Result<_>>()?;
        names.sort();
        Ok(names)
    };
    let config = || -> Result<Value> {
        let text = std::fs::read_to_string(folder.path().join("config.json"))?;
        Ok(serde_json::from_str(&text)?)
    };
    let (files, mut before) = (names()?, config()?);
    let (name, text) = (folder.path().display().to_string(), text());
    let arguments = [
        "calibrate",
        &name,
        "--file",
        &text,
        "--limit",
        "60",
        "--max-loss",
        "5%",
        "--exit-kv",
        "share",
        "--adapter",
        "cpu",
    ];
    let unwritten = run(&arguments)?;
    ensure!(unwritten.status == 0, "{}", unwritten.stderr);
    for word in ["first half", "second half", "mean cycles", "rise"] {
        ensure!(unwritten.stderr.contains(word), "{}", unwritten.stderr);
    }
    ensure!(config()? == before, "written without being asked");
    let printed = succeed(&[&arguments[..], &["--write"]].concat())?;
    ensure!(printed == unwritten.stdout, "{printed}");
    let block: Value = serde_json::from_str(&printed)?;
    ensure!(
        block["kv"] == "share" && block["threshold"].is_f64(),
        "{block}"
    );
    before["ztt"]["exit"] = block;
    // Compared as text: the order of the fields counts.
    same("config", &[config()?.to_string()], &[before.to_string()])?;
    same("files", &names()?, &files)?;
    let inspected: Value = serde_json::from_str(&succeed(&["inspect", &name, "--json"])?)?;
    ensure!(inspected.to_string().contains("share"), "{inspected}");
    Ok(())
}

fn refused() -> Result<()> {
    let text = text();
    let plain = Checkpoint::copy_of("llama-plain")?;
    let plain = plain.name();
    fails(
        &["calibrate", &plain, "--file", &text],
        1,
        &["expected a model with scores", &plain],
    )?;
    fails(
        &["perplexity", &plain, "--file", &text, "--sweep"],
        1,
        &["--sweep", "expected a model with scores", &plain],
    )?;
    fails(&["calibrate"], 2, &["--file"])?;
    fails(&["perplexity"], 2, &["--file"])?;
    for loss in ["1", "-1%", "x%"] {
        let arguments = ["calibrate", "--file", &text, "--max-loss", loss];
        fails(&arguments, 2, &["--max-loss", "percentage"])?;
    }
    fails(
        &["calibrate", "--file", &text, "--write"],
        1,
        &["builtin", "expected a checkpoint folder"],
    )?;
    // Without the texts beside it the file is a model of its own.
    let folder = folder()?;
    let file = folder.path().join("model.safetensors");
    std::fs::remove_file(folder.path().join("config.json"))?;
    let file = file.display().to_string();
    fails(
        &["calibrate", &file, "--file", &text, "--write"],
        1,
        &[&file, "expected a checkpoint folder"],
    )?;
    // Where no position may exit early, no threshold saves a cycle.
    let arguments = [
        "calibrate",
        "--file",
        &text,
        "--limit",
        "30",
        "--max-loss",
        "0%",
        "--min-cycles",
        "3",
        "--adapter",
        "cpu",
    ];
    let none = run(&arguments)?;
    ensure!(
        none.status == 1 && none.stdout.is_empty(),
        "{}",
        none.stdout
    );
    ensure!(none.stderr.contains("full depth"), "{}", none.stderr);
    Ok(())
}

fn bad_texts() -> Result<()> {
    let text = text();
    let folder = tempfile::tempdir()?;
    let file = |name: &str, bytes: &[u8]| -> Result<String> {
        let file = folder.path().join(name);
        std::fs::write(&file, bytes)?;
        Ok(file.display().to_string())
    };
    let empty = file("empty", b"")?;
    let one = file("one", b"the\n")?;
    let binary = file("binary", &[0xff, 0xfe, 0])?;
    for command in ["perplexity", "calibrate"] {
        fails(
            &[command, "-f", &empty],
            1,
            &[&empty, "expected at least", "found 0"],
        )?;
        fails(
            &[command, "-f", &one],
            1,
            &[&one, "expected at least", "found 1"],
        )?;
        fails(&[command, "-f", &binary], 1, &[&binary, "UTF-8"])?;
        fails(&[command, "-f", "/nowhere"], 1, &["/nowhere", "No such"])?;
        fails(
            &[command, "-f", &text, "--ctx", "1"],
            1,
            &["--ctx", "at least 2"],
        )?;
        fails(
            &[command, "-f", &text, "--ctx", "385"],
            1,
            &["--ctx", "at most 384"],
        )?;
        fails(&[command, "-f", &text, "--limit", "0"], 2, &["--limit"])?;
    }
    fails(
        &["perplexity", "-f", &text, "--cycles", "4"],
        1,
        &["--cycles", "1 to 3"],
    )
}
