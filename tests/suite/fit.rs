//! Models that do not fit an adapter: refused before anything is put there, with the longest context
//! that would fit.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::json;

use crate::adapter;
use crate::program::{Checkpoint, Run, command, output};

pub fn trials() -> Vec<Trial> {
    vec![
        adapter::trial("fit::too_little_memory", |_| too_little_memory()),
        adapter::trial("fit::no_memory_for_weights", |_| no_memory_for_weights()),
        adapter::trial("fit::a_context_beyond_limits", |_| beyond_limits()),
    ]
}

/// Runs a token of a model on an adapter that says that it has so many MiB, and that fails as soon
/// as it is waited for where `fails` says so.
fn run(model: &str, flags: &[&str], mib: u64, fails: bool) -> Result<Run> {
    let arguments = ["trace", model, "--ids", "1"];
    let mut command = command(&[&arguments[..], flags].concat());
    command.env("ZTT_ADAPTER_MEMORY", mib.to_string());
    if fails {
        command.env("ZTT_FAULT", "lost:1");
    }
    output(command)
}

/// The one line of a model that is refused before the device is waited for.
fn refused(model: &str, flags: &[&str], mib: u64) -> Result<String> {
    let run = run(model, flags, mib, true)?;
    let line = run.stderr.trim_end().to_string();
    ensure!(run.status == 1 && line.lines().count() == 1, "{line}");
    ensure!(line.contains("does not fit adapter `"), "{line}");
    Ok(line)
}

/// The number that an error advises for `--ctx`.
fn advised(line: &str) -> Result<usize> {
    let (_, rest) = line.split_once("(`--ctx ").context("no advice")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().with_context(|| line.to_string())
}

/// A checkpoint of long texts.
fn long(n_positions: usize) -> Result<Checkpoint> {
    Checkpoint::copy_of("llama-plain")?.set("", "max_position_embeddings", json!(n_positions))
}

/// The context that is advised is the longest one that is not refused.
fn too_little_memory() -> Result<()> {
    const MIB: u64 = 8;
    let model = long(60_000)?;
    let name = model.name();
    for (kv_type, words) in [("q8_0", "` fits)"), ("f32", " --kv-type q8_0` fits)")] {
        let flags = |n_ctx: usize| [format!("--ctx={n_ctx}"), format!("--kv-type={kv_type}")];
        let line = refused(&name, &flags(60_000).each_ref().map(String::as_str), MIB)?;
        for part in ["weights", "key-value cache", "activations", words] {
            ensure!(line.contains(part), "no `{part}` in: {line}");
        }
        ensure!(
            line.contains(&format!("at most {} bytes", MIB << 20)),
            "{line}"
        );
        let n_ctx = advised(&line)?;
        ensure!(n_ctx > 1000, "{line}");
        let with = |n_ctx: usize| [format!("--ctx={n_ctx}"), "--kv-type=q8_0".to_string()];
        let fitting = run(
            &name,
            &with(n_ctx).each_ref().map(String::as_str),
            MIB,
            false,
        )?;
        ensure!(fitting.status == 0, "{}", fitting.stderr);
        refused(&name, &with(n_ctx + 1).each_ref().map(String::as_str), MIB)?;
    }
    Ok(())
}

fn no_memory_for_weights() -> Result<()> {
    let line = refused("builtin", &[], 2)?;
    ensure!(line.contains("no context does"), "{line}");
    let fitting = run("builtin", &[], 64, false)?;
    ensure!(fitting.status == 0, "{}", fitting.stderr);
    Ok(())
}

/// A cache that no adapter can bind, whatever memory it has.
fn beyond_limits() -> Result<()> {
    const N_CTX: usize = 1 << 30;
    const MANY: u64 = 1 << 40;
    let model = long(N_CTX)?;
    let flags = format!("--ctx={N_CTX}");
    let line = refused(&model.name(), &[flags.as_str()], MANY)?;
    let n_ctx = advised(&line)?;
    ensure!((1..N_CTX).contains(&n_ctx), "{line}");
    let more = format!("--ctx={}", n_ctx + 1);
    refused(&model.name(), &[more.as_str()], MANY)?;
    Ok(())
}
