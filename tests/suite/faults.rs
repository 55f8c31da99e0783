//! Devices that fail, planted behind the engine's own seam: the program ends in one clear line,
//! and what it had said before is not lost.

use anyhow::{Result, ensure};
use assert_cmd::Command;
use libtest_mimic::Trial;

use crate::adapter;
use crate::compare::same;
use crate::program::{Run, command, output};

/// Faults that `ZTT_FAULT` plants, each with words of the program's error.
const FAULTS: [(&str, &str); 2] = [("lost", "device lost"), ("memory", "out of memory")];

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        adapter::trial("faults::text_so_far_is_kept", |_| text_so_far()),
        adapter::trial("faults::at_every_moment", |_| every_moment()),
        adapter::trial("faults::caches_cannot_grow", |_| no_room()),
    ];
    let commands: [(&str, &[&str]); 4] = [
        ("bench", &["bench", "-p", "8", "-n", "4", "-r", "1"]),
        ("microbench", &["microbench", "read 1 MiB", "-r", "1"]),
        (
            "perplexity",
            &["perplexity", "--file", TEXT, "--limit", "300"],
        ),
        ("trace", &["trace", "builtin", "ROMEO:"]),
    ];
    for (name, arguments) in commands {
        trials.push(adapter::trial(format!("faults::{name}"), move |_| {
            for fault in FAULTS {
                ends_in_one_line(arguments, 2, fault)?;
            }
            Ok(())
        }));
    }
    trials
}

const TEXT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/classics-val.txt"
);

const RUN: [&str; 7] = ["run", "builtin", "ROMEO:", "-n", "40", "--temperature", "0"];

fn faulty(arguments: &[&str], wait: usize, fault: &str) -> Command {
    let mut command = command(arguments);
    command.env("ZTT_FAULT", format!("{fault}:{wait}"));
    command
}

/// Runs the program, whose device fails at its `wait`-th wait.
fn ends_in_one_line(arguments: &[&str], wait: usize, (fault, said): (&str, &str)) -> Result<Run> {
    let run = output(faulty(arguments, wait, fault))?;
    let what = format!(
        "{arguments:?} {fault}:{wait}: {} {}",
        run.status, run.stderr
    );
    ensure!(run.status == 1, "{what}");
    let lines = run
        .stderr
        .lines()
        .filter(|line| line.starts_with("ztt-wgpu: "));
    ensure!(
        lines.count() == 1 && !run.stderr.contains("panicked"),
        "{what}"
    );
    let last = run.stderr.trim_end().lines().next_back().unwrap_or("");
    ensure!(
        last.starts_with("ztt-wgpu: adapter `") && last.contains(said),
        "{what}"
    );
    Ok(run)
}

fn text_so_far() -> Result<()> {
    let whole = output(command(&RUN))?.stdout;
    for fault in FAULTS {
        let text = ends_in_one_line(&RUN, 20, fault)?.stdout;
        let text = text.trim_end_matches('\n');
        ensure!(text.len() > 10 && text.len() < whole.len(), "{text:?}");
        ensure!(whole.starts_with(text), "{text:?} of {whole:?}");
    }
    Ok(())
}

/// A fault at every wait, from the first, with weights being uploaded, to one after the last, where
/// the program ends well.
fn every_moment() -> Result<()> {
    let arguments = ["run", "builtin", "ROMEO:", "-n", "3", "--temperature", "0"];
    for wait in 1..50 {
        if output(faulty(&arguments, wait, "lost"))?.status == 0 {
            ensure!(wait > 3, "it waited {} times", wait - 1);
            return Ok(());
        }
        for fault in FAULTS {
            ends_in_one_line(&arguments, wait, fault)?;
        }
    }
    anyhow::bail!("it never ends well");
}

/// Caches that cannot grow: the text up to there is given out, all of it.
fn no_room() -> Result<()> {
    let run = ["run", "builtin", "ROMEO:", "-n", "300"];
    let arguments = |ahead| [&run[..], &["--temperature", "0", "--ahead", ahead]].concat();
    let whole = output(command(&arguments("1")))?.stdout;
    let text = ends_in_one_line(&arguments("1"), 1, ("room", "no memory"))?.stdout;
    let text = text.trim_end_matches('\n');
    ensure!(whole.starts_with(text), "{text:?} of {whole:?}");
    // Of 300 tokens some 250 fit.
    let is_long = 2 * text.len() > whole.len() && text.len() < whole.len();
    ensure!(is_long, "{} of {} bytes", text.len(), whole.len());
    // Tokens under way are given out first, and by then there is memory again.
    let mut command = command(&arguments("3"));
    command.env("ZTT_FAULT", "room:1");
    same("the text", &[output(command)?.stdout], &[whole])
}
