//! What looped models compute: `trace`, `run`, `perplexity`, `calibrate`, `bench` and `inspect`.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use ztt_wgpu::measure::quality::QualityReport;

use super::{Edited, NANBEIGE, OURO, fixture, folder, n_cycles};
use crate::adapter;
use crate::compare::{all_close, same};
use crate::errors::fails;
use crate::fixtures::{path, trial};
use crate::program::{Run, json_lines, run, succeed};
use crate::serve::server::{DEVICE, HOST};

/// A threshold that positions of the tests' texts reach after one step, after more, and never.
const THRESHOLD: [&str; 2] = ["--exit-threshold", "0.6"];

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("looped::inspect", inspect),
        trial("looped::early_exit_step", early_exit_step),
        trial("looped::perplexity", perplexity),
        trial("looped::a_sweep_is_its_settings_one_by_one", sweep),
        trial("looped::calibrate_a_gate", calibrated),
        trial("looped::calibrate_writes_the_familys_field", written),
        trial("looped::pages_of_a_gate", pages),
        trial("looped::bench_of_thresholds", bench),
        trial("looped::flags_that_change_nothing_are_refused", refused),
    ];
    type Test = fn(&[&str]) -> Result<()>;
    let tests: [(&str, Test); 3] = [
        ("traces_equal_numpys", numpys),
        ("positions_exit_by_their_scores", exits),
        ("run_exits_while_it_draws", runs),
    ];
    for (name, test) in tests {
        trials.push(trial(format!("looped::{name}"), move || test(&HOST)));
        let name = format!("looped::{name}_on_the_adapter");
        trials.push(adapter::trial(name, move |_| test(&DEVICE)));
    }
    trials
}

/// The positions of the fixture's text.
fn traced(model: &str, flags: &[&str]) -> Result<Vec<Value>> {
    let expected = fixture("expected.json")?;
    let text = expected[model]["text"].as_str().context("text")?;
    let arguments = ["trace", &folder(model), text, "--json", "--top", "1"];
    json_lines(&succeed(&[&arguments[..], flags].concat())?)
}

fn cycles(positions: &[Value]) -> Result<Vec<u64>> {
    let cycles = positions.iter().map(|p| p["cycles"].as_u64());
    cycles.collect::<Option<_>>().context("cycles")
}

fn floats(list: &Value) -> Result<Vec<f32>> {
    let list = list.as_array().context("a list")?;
    let floats = list.iter().map(|x| x.as_f64().map(|x| x as f32));
    floats.collect::<Option<_>>().context("numbers")
}

/// Tokens, logits and scores of a forward pass in NumPy, in double precision.
fn numpys(place: &[&str]) -> Result<()> {
    let expected = fixture("expected.json")?;
    for model in [OURO, NANBEIGE] {
        let expected = &expected[model];
        let found = traced(model, place)?;
        let ids: Vec<Value> = found.iter().map(|p| p["id"].clone()).collect();
        same(model, &[json!(ids)], &[expected["ids"].clone()])?;
        // A threshold of 1 is none.
        same(
            model,
            &cycles(&found)?,
            &vec![n_cycles(model) as u64; ids.len()],
        )?;
        let logits = floats(&expected["logits"])?;
        let tops = expected["top"].as_array().context("top")?;
        for (i, (position, top)) in found.iter().zip(tops).enumerate() {
            let what = format!("{model}, position {i}");
            let best = &position["top"][0];
            let logit = best[1].as_f64().context("logit")? as f32;
            all_close(&what, &[logit], &[logits[i]], 5e-3)?;
            ensure!(
                top.is_null() || *top == best[0],
                "{what}: {best}, not {top}"
            );
            let expected = floats(&expected["scores"][i])?;
            let scores = floats(&position["scores"])?;
            ensure!(scores.len() >= expected.len(), "{what}: {scores:?}");
            let (known, last) = scores.split_at(expected.len());
            all_close(&format!("{what}, scores"), known, &expected, 1e-3)?;
            // The last step's score is 1, where there are scores at all.
            ensure!(last.iter().all(|&s| s == 1.0), "{what}: {scores:?}");
            ensure!(model == OURO || scores.is_empty(), "{what}: {scores:?}");
        }
    }
    Ok(())
}

/// Every position leaves after the first step whose score reaches the threshold; those of a prompt
/// do so where that is asked for.
fn exits(place: &[&str]) -> Result<()> {
    let n = n_cycles(OURO);
    for kv in ["share", "propagate"] {
        let flags = [&THRESHOLD[..], &["--exit-kv", kv], place].concat();
        let all = traced(OURO, &[&flags[..], &["--exit-prompt", "yes"]].concat())?;
        for (i, position) in all.iter().enumerate() {
            let scores = floats(&position["scores"])?;
            let reached = scores.iter().position(|&s| s >= 0.6);
            let expected = reached.map_or(n, |step| step + 1).min(n) as u64;
            let what = format!("{kv}, position {i}: {scores:?}");
            same(&what, &[position["cycles"].as_u64()], &[Some(expected)])?;
        }
        let depths = cycles(&all)?;
        for depth in [1, n as u64] {
            ensure!(depths.contains(&depth), "{kv}: no {depth} in {depths:?}");
        }
        // A prompt runs full depth of itself, and what comes after it does not.
        let prompt = traced(OURO, &flags)?;
        same(kv, &cycles(&prompt)?, &vec![n as u64; all.len()])?;
        let split = traced(OURO, &[&flags[..], &["--exit-from", "4"]].concat())?;
        let depths = cycles(&split)?;
        same(kv, &depths[..4], &[n as u64; 4])?;
        ensure!(depths[4..].contains(&1), "{kv}: {depths:?}");
    }
    Ok(())
}

/// The text of a run, and its summary.
fn drawn(model: &str, flags: &[&str]) -> Result<(String, Value)> {
    let fixed = ["run", model, "What say you", "-n", "16", "--json"];
    let more = ["--ignore-eos", "--temperature", "1", "--seed", "3"];
    let lines = json_lines(&succeed(&[&fixed[..], &more, flags].concat())?)?;
    let (summary, tokens) = lines.split_last().context("no lines")?;
    let texts = tokens.iter().map(|token| token["text"].as_str());
    let text = texts.collect::<Option<String>>().context("text")?;
    Ok((text, summary["summary"].clone()))
}

fn runs(place: &[&str]) -> Result<()> {
    for model in [OURO, NANBEIGE] {
        let n = n_cycles(model);
        let (text, summary) = drawn(&folder(model), place)?;
        ensure!(!text.is_empty(), "{model} says nothing");
        same(model, &[&summary["generated_tokens"]], &[&json!(16)])?;
        same(model, &[&summary["mean_cycles"]], &[&json!(n as f64)])?;
        let shallow = drawn(&folder(model), &[place, &["--cycles", "1"]].concat())?;
        same(model, &[&shallow.1["mean_cycles"]], &[&json!(1.0)])?;
        ensure!(shallow.0 != text, "{model}: its steps change nothing");
    }
    let exiting = |more: &[&str]| drawn(&folder(OURO), &[&THRESHOLD[..], more, place].concat());
    let (_, summary) = exiting(&[])?;
    let mean = summary["mean_cycles"].as_f64().context("mean")?;
    ensure!(mean > 1.0 && mean < 4.0, "{summary}");
    let (_, summary) = exiting(&["--min-cycles", "3"])?;
    let counts = summary["exits"].as_array().context("exits")?;
    same("before the third step", &counts[..2], &[json!(0), json!(0)])?;
    // A score that no step but the last reaches.
    let never = drawn(&folder(OURO), &[&["--exit-threshold", "1"], place].concat())?;
    same("never", &[&never.1["mean_cycles"]], &[&json!(4.0)])
}

/// The last step that is to run, counted from 0, is a cap.
fn early_exit_step() -> Result<()> {
    let copy = Edited::of(OURO)?.set("config.json", "early_exit_step", json!(1))?;
    let found = drawn(&copy.name(), &HOST)?;
    let expected = drawn(&folder(OURO), &[&HOST[..], &["--cycles", "2"]].concat())?;
    same("text", &[found.0], &[expected.0])?;
    same("cycles", &[&found.1["mean_cycles"]], &[&json!(2.0)])
}

fn inspect() -> Result<()> {
    for model in [OURO, NANBEIGE] {
        let text = succeed(&["inspect", &folder(model)])?;
        let mut lines = text.lines();
        let score = lines.find(|line| line.starts_with("score"));
        let score = score.with_context(|| format!("no score in {text}"))?;
        ensure!(score.contains("gate") == (model == OURO), "{score}");
        ensure!(!score.contains("zero"), "{score}");
        let json: Value = serde_json::from_str(&succeed(&["inspect", &folder(model), "--json"])?)?;
        let found = ["family", "layers", "effective_layers", "pool"].map(|field| &json[field]);
        let n_layers = json!(3 * n_cycles(model));
        same(
            model,
            &found,
            &[&json!(model), &json!(3), &n_layers, &Value::Null],
        )?;
    }
    Ok(())
}

/// The text to be scored.
fn text() -> String {
    path("classics-val.txt").display().to_string()
}

/// The report on the first 60 tokens, or on as many as `flags` say.
fn measured(model: &str, flags: &[&str]) -> Result<QualityReport> {
    let (model, text) = (folder(model), text());
    let fixed = ["perplexity", &model, "--file", &text, "-o", "json"];
    let limit = match flags.contains(&"--limit") {
        true => vec![],
        false => vec!["--limit", "60"],
    };
    let arguments = [&fixed[..], &["--ctx", "32"], &limit[..], &HOST, flags].concat();
    Ok(serde_json::from_str(&succeed(&arguments)?)?)
}

fn perplexity() -> Result<()> {
    let text = text();
    for model in [OURO, NANBEIGE] {
        let report = measured(model, &[])?;
        // Full depth comes first.
        let row = report.rows.first().context("no row")?;
        same(model, &[row.figures.mean_cycles], &[n_cycles(model) as f64])?;
        let perplexity = row.figures.perplexity;
        ensure!(perplexity.is_finite() && perplexity > 1.0, "{row:?}");
    }
    let report = measured(OURO, &THRESHOLD)?;
    let exiting = report.rows.last().context("no row")?;
    let mean = exiting.figures.mean_cycles;
    ensure!(mean > 1.0 && mean < 4.0, "{exiting:?}");
    let name = folder(NANBEIGE);
    let sweep = ["perplexity", &name, "--file", &text, "--sweep"];
    let refused = run(&[&sweep[..], &HOST].concat())?;
    ensure!(
        refused.status == 1 && refused.stderr.contains("--sweep"),
        "{}",
        refused.stderr
    );
    Ok(())
}

/// Every row of a sweep has the figures of a run of its own.
fn sweep() -> Result<()> {
    let given = ["--sweep", "--exit-threshold", "0.6,0.7"];
    let rows = measured(OURO, &given)?.rows;
    let exiting: Vec<_> = rows.iter().filter(|row| row.threshold.is_some()).collect();
    same("settings", &[rows.len(), exiting.len()], &[4 + 4, 4])?;
    let mut cycles = Vec::new();
    for row in rows {
        let (threshold, depth) = (row.threshold.map(|t| t.to_string()), row.cycles.to_string());
        let flags = match &threshold {
            Some(threshold) => vec!["--exit-threshold", threshold, "--exit-kv", &row.policy],
            None => vec!["--cycles", &depth],
        };
        let alone = measured(OURO, &flags)?.rows.pop().context("no row")?;
        let (found, expected) = (row.figures, alone.figures);
        let what = format!("{threshold:?} {} {depth}", row.policy);
        let of = |nats: f64, mean_cycles: f64| [nats as f32, mean_cycles as f32];
        all_close(
            &what,
            &of(found.nats, found.mean_cycles),
            &of(expected.nats, expected.mean_cycles),
            1e-5,
        )?;
        cycles.push(found.mean_cycles);
    }
    let is_between = |mean: &&f64| **mean > 1.0 && **mean < 4.0;
    ensure!(cycles.iter().any(|mean| is_between(&mean)), "{cycles:?}");
    Ok(())
}

/// `calibrate` of 60 tokens, in halves of 30, with a bound that any threshold keeps: a random model
/// may lose or gain by an exit.
fn calibrate(model: &str, flags: &[&str]) -> Result<Run> {
    let text = text();
    let fixed = ["calibrate", model, "--file", &text, "--limit", "60"];
    let loose = ["--ctx", "32", "--max-loss", "1000000000%"];
    let found = run(&[&fixed[..], &loose, &HOST, flags].concat())?;
    ensure!(found.status == 0, "{}", found.stderr);
    Ok(found)
}

/// The field, and figures that equal those of `perplexity`.
fn calibrated() -> Result<()> {
    let found = calibrate(&folder(OURO), &[])?;
    let fields: Value = serde_json::from_str(&found.stdout)?;
    let names: Vec<_> = fields.as_object().context("no object")?.keys().collect();
    same("fields", &names, &[&"early_exit_threshold".to_string()])?;
    ensure!(!found.stderr.contains("no field"), "{}", found.stderr);
    let threshold = fields["early_exit_threshold"].to_string();
    let flags = ["--limit", "30", "--exit-threshold", &threshold];
    let report = measured(OURO, &flags)?;
    for (row, what) in report.rows.iter().zip(["full depth", "the choice"]) {
        let figures = &row.figures;
        let line = format!(
            "  {what} perplexity {:.3}, mean cycles {:.3}",
            figures.perplexity, figures.mean_cycles
        );
        ensure!(found.stderr.contains(&line), "{line}: {}", found.stderr);
    }
    same("rows", &[report.rows.len()], &[2])
}

fn written() -> Result<()> {
    let copy = Edited::of(OURO)?;
    let config = || -> Result<Value> {
        let text = std::fs::read_to_string(copy.path().join("config.json"))?;
        Ok(serde_json::from_str(&text)?)
    };
    let mut before = config()?;
    let flags = ["--write", "--exit-kv", "propagate", "--min-cycles", "2"];
    let found = calibrate(&copy.name(), &flags)?;
    let fields: Value = serde_json::from_str(&found.stdout)?;
    before["early_exit_threshold"] = fields["early_exit_threshold"].clone();
    ensure!(before["early_exit_threshold"].is_f64(), "{fields}");
    // Compared as text: the order of the fields counts.
    same("config", &[config()?.to_string()], &[before.to_string()])?;
    let words = "no field for `--min-cycles 2`, `--exit-kv propagate`:";
    ensure!(found.stderr.contains(words), "{}", found.stderr);
    Ok(())
}

/// The words of a page, and of the lines of the same trace.
fn pages() -> Result<()> {
    let elsewhere = tempfile::tempdir()?;
    let file = elsewhere.path().join("trace.html");
    let shown = file.display().to_string();
    for model in [OURO, NANBEIGE] {
        let mut flags = [&HOST[..], &["--html", &shown, "--exit-prompt", "yes"]].concat();
        if model == OURO {
            flags.extend(THRESHOLD);
        }
        let positions = traced(model, &flags)?;
        let page = std::fs::read_to_string(&file)?;
        ensure!(
            !page.contains("zero"),
            "{model}: of zero tokens or attention"
        );
        let n_cells = page.matches("<rect class=\"s").count() as u64;
        let n_scores: u64 = match model {
            OURO => cycles(&positions)?.iter().sum(),
            _ => 0,
        };
        same(model, &[n_cells], &[n_scores])?;
        for words in ["learned gate", "threshold 0.6", "The score of each cycle"] {
            ensure!(page.contains(words) == (model == OURO), "{model}: {words}");
        }
        ensure!(
            !page.contains("reduce</"),
            "{model}: there is nothing to reduce"
        );
        let none = page.contains("of this model have no scores");
        ensure!(none == (model == NANBEIGE), "{model}");
    }
    // As published, the threshold is none.
    traced(OURO, &[&HOST[..], &["--html", &shown]].concat())?;
    let page = std::fs::read_to_string(&file)?;
    ensure!(!page.contains("<b>threshold"), "a threshold of 1");
    Ok(())
}

fn bench() -> Result<()> {
    let name = folder(OURO);
    let fixed = [
        "bench", &name, "-p", "0", "-n", "6", "-r", "1", "-o", "json",
    ];
    let list = ["--exit-threshold", "0,0.6,1,none"];
    let report = succeed(&[&fixed[..], &list, &HOST].concat())?;
    let report: Value = serde_json::from_str(&report)?;
    let rows = report["rows"].as_array().context("rows")?;
    let means = rows.iter().map(|row| row["mean_cycles"].as_f64());
    let means: Vec<f64> = means.collect::<Option<_>>().context("mean cycles")?;
    same("ends", &[means.len() as f64, means[0]], &[4.0, 1.0])?;
    // A chance of 1 is never reached.
    same("never", &means[2..], &[4.0, 4.0])?;
    ensure!((1.0..=4.0).contains(&means[1]), "{means:?}");
    Ok(())
}

/// The same words wherever a flag of exits is given.
fn refused() -> Result<()> {
    let (ouro, nanbeige, text) = (folder(OURO), folder(NANBEIGE), text());
    let scored = ["--file", &text, "--limit", "20"];
    let commands: [(&str, &[&str]); 6] = [
        ("run", &["Name a colour."]),
        ("chat", &[]),
        ("serve", &["--port", "0"]),
        ("trace", &["Name a colour."]),
        ("perplexity", &scored),
        ("bench", &["-p", "4", "-n", "0"]),
    ];
    let plain = path("golden/llama-plain").display().to_string();
    for (command, more) in commands {
        let threshold = ["--exit-threshold", "0.5"];
        let arguments = [&[command, &nanbeige], more, &threshold, &HOST].concat();
        let words = ["--exit-threshold", "a model with scores", &nanbeige];
        fails(&arguments, 1, &words)?;
        if command == "bench" {
            continue;
        }
        let reduce = ["--exit-reduce", "max"];
        let arguments = [&[command, &ouro], more, &reduce, &HOST].concat();
        fails(&arguments, 1, &["--exit-reduce", "learned gate", &ouro])?;
        let arguments = [&[command, &nanbeige], more, &reduce, &HOST].concat();
        fails(&arguments, 1, &["--exit-reduce", "a model with scores"])?;
    }
    let of_ids = ["trace", &plain, "--ids", "1 2", "--exit-threshold", "0.5"];
    fails(&of_ids, 1, &["--exit-threshold", "a model with scores"])?;
    let looped = [&of_ids[..], &["--loop", "1-2x2"]].concat();
    fails(&looped, 1, &["--exit-threshold", "a model with scores"])
}
