//! Commands on a model with a learned gate, and on one without scores: `calibrate`, sweeps, pages,
//! `bench`, and flags that are refused.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use super::outputs::{THRESHOLD, cycles, measured, text, traced};
use super::{Edited, NANBEIGE, OURO, folder};
use crate::compare::{all_close, same};
use crate::errors::fails;
use crate::fixtures::{path, trial};
use crate::program::{Run, run, succeed};
use crate::serve::server::HOST;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("looped::a_sweep_is_its_settings_one_by_one", sweep),
        trial("looped::calibrate_a_gate", calibrated),
        trial("looped::calibrate_writes_the_familys_field", written),
        trial("looped::pages_of_a_gate", pages),
        trial("looped::bench_of_thresholds", bench),
        trial("looped::flags_that_change_nothing_are_refused", refused),
    ]
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
    same("rows", &[means.len()], &[4])?;
    // The first token counts as prompt, which does not leave.
    ensure!(means[0] < 2.0, "{means:?}");
    // A chance of 1 is never reached.
    same("never", &means[2..], &[4.0, 4.0])?;
    ensure!((means[0]..=4.0).contains(&means[1]), "{means:?}");
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
