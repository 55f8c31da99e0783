//! What looped models compute: `trace`, `run`, `perplexity` and `inspect`.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use ztt_wgpu::measure::quality::QualityReport;

use super::{Edited, NANBEIGE, OURO, fixture, folder, n_cycles};
use crate::adapter;
use crate::compare::{all_close, same};
use crate::fixtures::{path, trial};
use crate::program::{json_lines, run, succeed};
use crate::serve::server::{DEVICE, HOST};

/// A threshold that positions of the tests' texts reach after one step, after more, and never.
pub const THRESHOLD: [&str; 2] = ["--exit-threshold", "0.6"];

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("looped::inspect", inspect),
        trial("looped::early_exit_step", early_exit_step),
        trial("looped::perplexity", perplexity),
        trial("looped::layers_of_a_plain_model", layers),
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
pub fn traced(model: &str, flags: &[&str]) -> Result<Vec<Value>> {
    let expected = fixture("expected.json")?;
    let text = expected[model]["text"].as_str().context("text")?;
    let arguments = ["trace", &folder(model), text, "--json", "--top", "1"];
    json_lines(&succeed(&[&arguments[..], flags].concat())?)
}

pub fn cycles(positions: &[Value]) -> Result<Vec<u64>> {
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

/// One time is the model itself; more change it; what runs layers in cycles already is refused.
fn layers() -> Result<()> {
    let plain = path("golden/llama-plain").display().to_string();
    let trace = |flags: &[&str]| {
        let fixed = ["trace", &plain, "--ids", "1,2,3", "--json", "--top", "3"];
        succeed(&[&fixed[..], &HOST, flags].concat())
    };
    let (alone, once) = (trace(&[])?, trace(&["--loop", "0-1x1"])?);
    same("once", &[&once], &[&alone])?;
    ensure!(
        trace(&["--loop", "0-1x2"])? != alone,
        "twice changes nothing"
    );
    let refused = |model: &str, layers: &str, status: i32, word: &str| -> Result<()> {
        let run = run(&["inspect", model, "--loop", layers])?;
        ensure!(run.status == status, "{layers}: {}", run.stderr);
        ensure!(run.stderr.contains(word), "{layers}: {}", run.stderr);
        ensure!(run.stderr.trim_end().lines().count() == 1, "{}", run.stderr);
        Ok(())
    };
    refused("builtin", "1-2x2", 1, "runs layers in cycles")?;
    refused(&folder(OURO), "0-1x2", 1, "runs layers in cycles")?;
    refused(&plain, "1-99x2", 1, "layers from 0 to")?;
    refused(&plain, "1-0x2", 1, "layers from 0 to")?;
    refused(&plain, "0-0x0", 1, "cycles")?;
    refused(&plain, "0-0x65", 1, "1 to 64 cycles")?;
    refused(&plain, "0:1x2", 2, "4-15x2")
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
pub fn text() -> String {
    path("classics-val.txt").display().to_string()
}

/// The report on the first 60 tokens, or on as many as `flags` say.
pub fn measured(model: &str, flags: &[&str]) -> Result<QualityReport> {
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
