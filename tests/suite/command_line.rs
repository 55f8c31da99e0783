//! The conventions of a command line: help, version, completions, variables, colours.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::adapter;
use crate::compare::same;
use crate::fixtures::trial;
use crate::program::{Run, command, json_lines, output, run, succeed};

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("command_line::help_has_examples_and_groups", help),
        trial("command_line::version_names_commit_and_wgpu", version),
        trial("command_line::completions", completions),
        trial("command_line::variables_stand_for_arguments", variables),
        trial("command_line::variables_are_checked", bad_variables),
        adapter::trial("command_line::the_log_in_a_pipe_has_no_colors", |_| log()),
    ];
    #[cfg(unix)]
    trials.push(trial("command_line::colors_are_for_terminals", colors));
    trials
}

fn help() -> Result<()> {
    let groups: [(&str, &[&str]); 13] = [
        (
            "run",
            &[
                "Text",
                "Output",
                "Sampling",
                "Drafts",
                "Early exit",
                "Device",
            ],
        ),
        (
            "chat",
            &["Text", "Sampling", "Drafts", "Early exit", "Device"],
        ),
        (
            "serve",
            &["Server", "Sampling", "Drafts", "Early exit", "Device"],
        ),
        ("trace", &["Text", "Output", "Early exit", "Device"]),
        ("inspect", &["Cache", "Output"]),
        ("pack", &["Model"]),
        ("convert", &["Model", "Layers"]),
        ("perplexity", &["Text", "Early exit", "Report", "Device"]),
        ("calibrate", &["Text", "Result", "Early exit", "Device"]),
        ("bench", &["Tests", "Synthetic models", "Report", "Device"]),
        ("microbench", &["Tests", "Report", "Device"]),
        ("devices", &["Output"]),
        ("completions", &[]),
    ];
    let all = succeed(&["--help"])?;
    for (name, headings) in groups {
        ensure!(all.contains(&format!("\n  {name} ")), "no {name} in {all}");
        let help = succeed(&[name, "--help"])?;
        let example = format!("Examples:\n  ztt-wgpu {name}");
        ensure!(help.contains(&example), "{name}: {help}");
        for heading in headings {
            ensure!(
                help.contains(&format!("\n{heading}:\n")),
                "{heading}: {help}"
            );
        }
    }
    Ok(())
}

fn version() -> Result<()> {
    let folder = env!("CARGO_MANIFEST_DIR");
    let lock = std::fs::read_to_string(format!("{folder}/Cargo.lock"))?;
    let wgpu = lock.split("name = \"wgpu\"\nversion = \"").nth(1);
    let wgpu = wgpu
        .and_then(|rest| rest.split('"').next())
        .context("wgpu")?;
    let mut parts = vec![format!("wgpu {wgpu}")];
    if std::path::Path::new(folder).join(".git").exists() {
        let git = Command::new("git")
            .args(["-C", folder, "rev-parse", "--short", "HEAD"])
            .output();
        let hash = git.ok().filter(|git| git.status.success());
        let hash = hash.map(|git| String::from_utf8_lossy(&git.stdout).trim().to_string());
        parts.splice(0..0, hash.map(|hash| format!("commit {hash}")));
    }
    let number = env!("CARGO_PKG_VERSION");
    let expected = format!("ztt-wgpu {number} ({})\n", parts.join(", "));
    same("version", &[succeed(&["--version"])?], &[expected])
}

fn completions() -> Result<()> {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = succeed(&["completions", shell])?;
        for word in ["microbench", "ctx-shift", "exit-threshold"] {
            ensure!(script.contains(word), "{shell}: no {word}");
        }
    }
    let unknown = run(&["completions", "csh"])?;
    ensure!(
        unknown.status == 2 && unknown.stderr.contains("bash"),
        "{}",
        unknown.stderr
    );
    Ok(())
}

/// `run` with these variables set.
fn with(variables: &[(&str, &str)], arguments: &[&str]) -> Result<Run> {
    let mut command = command(&[&["run"], arguments].concat());
    command.envs(variables.iter().copied());
    output(command)
}

/// The summary of such a run of at most 20 tokens.
fn summary(variables: &[(&str, &str)], arguments: &[&str]) -> Result<Value> {
    let rest = ["-n", "20", "--ignore-eos", "--json"];
    let run = with(variables, &[arguments, &rest].concat())?;
    ensure!(run.status == 0, "status {}: {}", run.status, run.stderr);
    let last = json_lines(&run.stdout)?.pop().context("no lines")?;
    Ok(last["summary"].clone())
}

fn variables() -> Result<()> {
    let plain = crate::fixtures::path("golden/llama-plain");
    let plain = plain.display().to_string();
    let variables = [("ZTT_ADAPTER", "cpu"), ("ZTT_CTX", "8")];
    let found = summary(&variables, &["builtin", "ROMEO:"])?;
    ensure!(found["finish"] == "context", "{found}");
    ensure!(
        found["adapter"]
            .as_str()
            .context("adapter")?
            .starts_with("cpu")
    );
    // A flag wins over a variable.
    let found = summary(&variables, &["builtin", "ROMEO:", "--ctx", "64"])?;
    ensure!(found["finish"] == "length", "{found}");
    // And so does an argument.
    let variables = [("ZTT_ADAPTER", "cpu"), ("ZTT_MODEL", "builtin")];
    same(
        "model",
        &[&summary(&variables, &[])?["model"]],
        &[&"builtin".into()],
    )?;
    let inspect = |arguments: &[&str]| -> Result<String> {
        let mut command = command(&[&["inspect"], arguments].concat());
        command.env("ZTT_MODEL", &plain);
        Ok(output(command)?.stdout)
    };
    ensure!(inspect(&[])?.contains(&plain), "{}", inspect(&[])?);
    ensure!(!inspect(&["builtin"])?.contains(&plain));
    Ok(())
}

fn bad_variables() -> Result<()> {
    let bad = [
        ("ZTT_CTX", "many", "--ctx"),
        ("ZTT_KERNELS", "warp", "workgroup, software"),
        ("ZTT_SKIP", "never", "count, return"),
        ("ZTT_AHEAD", "0", "--ahead"),
        ("ZTT_BACKEND", "gl", "vulkan"),
        ("ZTT_KV_TYPE", "f8", "f16, f32, q8_0"),
    ];
    for (variable, value, word) in bad {
        let run = with(&[(variable, value)], &["builtin", "ROMEO:"])?;
        ensure!(run.status == 2, "{variable}: status {}", run.status);
        ensure!(run.stderr.contains(word), "{variable}: {}", run.stderr);
        ensure!(run.stderr.trim_end().lines().count() == 1, "{}", run.stderr);
    }
    let run = with(&[("ZTT_ADAPTER", "no such thing")], &["builtin", "ROMEO:"])?;
    ensure!(
        run.status == 1 && run.stderr.contains("no such thing"),
        "{}",
        run.stderr
    );
    Ok(())
}

fn log() -> Result<()> {
    let run = with(&[("RUST_LOG", "debug")], &["builtin", "ROMEO:", "-n", "1"])?;
    ensure!(run.stderr.contains("wgpu"), "no log: {}", run.stderr);
    ensure!(!run.stderr.contains('\x1b'), "{:?}", run.stderr);
    Ok(())
}

#[cfg(unix)]
fn colors() -> Result<()> {
    let traced = |no_color: bool| -> Result<String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ztt-wgpu"));
        command.args(["trace", "builtin", "Call me", "--adapter", "cpu"]);
        command.env("TERM", "xterm-256color");
        crate::program::environment(|variable, value| match value {
            Some(value) => drop(command.env(variable, value)),
            None => drop(command.env_remove(variable)),
        });
        if no_color {
            command.env("NO_COLOR", "1");
        }
        Ok(rexpect::session::spawn_command(command, Some(60_000))?.exp_eof()?)
    };
    ensure!(traced(false)?.contains("\x1b["), "no colours on a terminal");
    ensure!(!traced(true)?.contains("\x1b["), "colours against NO_COLOR");
    Ok(())
}
