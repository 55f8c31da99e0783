//! A system that gives few files, threads, memory or folders: one line, or the program works.

use std::fs::{Permissions, copy, set_permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::chat::model::ChatModel;
use crate::fixtures::trial;
use crate::program::{Run, command, environment, in_shell, output};

const COMMANDS: [&[&str]; 6] = [
    &["run", "builtin", "hi", "-n", "2"],
    &["run", "builtin", "hi", "-n", "2", "--adapter", "cpu"],
    &["trace", "builtin", "hi"],
    &["inspect"],
    &["devices"],
    &["completions", "bash"],
];

pub fn trials() -> Vec<Trial> {
    vec![
        trial("resources::few_files", || limited("ulimit -n 7")),
        trial("resources::hardly_a_file", || limited("ulimit -n 4")),
        trial("resources::little_memory", || limited("ulimit -v 60000")),
        trial("resources::a_small_stack", || limited("ulimit -s 64")),
        trial("resources::no_files_written", || limited("ulimit -f 0")),
        trial("resources::no_home", no_home),
        trial("resources::no_threads", no_threads),
        trial("resources::numbers_at_their_edges", edges),
    ]
}

/// Success, or one line that says why not.
fn is_well(run: &Run) -> Result<()> {
    let said = run.stderr.trim_end();
    let lines = said
        .lines()
        .filter(|line| line.starts_with("ztt-wgpu: ") && !line.starts_with("ztt-wgpu: warning: "));
    let expected = match run.status {
        0 => 0,
        1 | 2 => 1,
        other => anyhow::bail!("status {other}: {said}"),
    };
    ensure!(lines.count() == expected, "status {}: {said}", run.status);
    ensure!(!said.contains("panicked"), "{said}");
    Ok(())
}

fn limited(limit: &str) -> Result<()> {
    let model = ChatModel::new()?;
    let name = model.name();
    let chat: &[&str] = &["chat", &name, "-n", "2"];
    for arguments in COMMANDS.into_iter().chain([chat]) {
        let mut command = in_shell(limit, "", arguments);
        command.write_stdin("Who?\n");
        // A program that could not begin says so itself.
        let run = output(command).with_context(|| format!("{limit}: {arguments:?}"))?;
        is_well(&run).with_context(|| format!("{limit}: {arguments:?}"))?;
    }
    Ok(())
}

fn no_home() -> Result<()> {
    let folders = [
        "unset HOME XDG_CACHE_HOME XDG_CONFIG_HOME",
        "export HOME=/dev/null/home XDG_CACHE_HOME=/dev/null/cache TMPDIR=/dev/null/tmp",
        "export HOME= XDG_CACHE_HOME=",
    ];
    for folders in folders {
        for arguments in COMMANDS {
            let run = output(in_shell(folders, "", arguments))?;
            is_well(&run).with_context(|| format!("{folders}: {arguments:?}"))?;
            ensure!(run.status == 0, "{folders}: {arguments:?}: {}", run.stderr);
        }
    }
    Ok(())
}

/// The number of threads binds everyone but root, who becomes somebody else for this.
fn no_threads() -> Result<()> {
    const SOMEBODY: u32 = 54_321;
    let folder = tempfile::tempdir()?;
    set_permissions(folder.path(), Permissions::from_mode(0o755))?;
    let program = folder.path().join("ztt-wgpu");
    copy(env!("CARGO_BIN_EXE_ztt-wgpu"), &program)?;
    let is_root = folder.path().metadata()?.uid() == 0;
    let model = ChatModel::new()?;
    set_permissions(model.file("."), Permissions::from_mode(0o755))?;
    let name = model.name();
    let chat: &[&str] = &["chat", &name, "-n", "2", "--adapter", "cpu"];
    let serve: &[&str] = &["serve", "--port", "0", "--adapter", "cpu"];
    for n in 1..4 {
        for arguments in COMMANDS.into_iter().chain([chat, serve]) {
            let mut shell = Command::new("timeout");
            let script = format!("ulimit -u {n} && exec \"$0\" \"$@\"");
            shell.args(["5", "bash", "-c", &script]);
            shell.arg(&program).args(arguments);
            shell.stdin(Stdio::null()).current_dir("/");
            environment(|variable, value| match value {
                Some(value) => drop(shell.env(variable, value)),
                None => drop(shell.env_remove(variable)),
            });
            if is_root {
                shell.uid(SOMEBODY).gid(SOMEBODY);
            }
            let output = shell.output()?;
            let run = Run {
                status: output.status.code().context("ended by a signal")?,
                stdout: String::new(),
                stderr: String::from_utf8(output.stderr)?,
            };
            // A server that got its threads runs until it is stopped.
            if run.status != 124 {
                is_well(&run).with_context(|| format!("{n} threads: {arguments:?}"))?;
            }
        }
    }
    Ok(())
}

/// The values tried for each number: signs, the ends of types, and texts that are no number.
const NUMBERS: [&str; 8] = [
    "0",
    "-1",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e400",
    "NaN",
    "",
];

/// Flags that take a number, with the arguments they are tried beside.
const NUMERIC: [(&[&str], &[&str]); 9] = [
    (
        &["run", "builtin", "hi", "-n=2", "--adapter", "cpu"],
        &[
            "--temperature",
            "--top-k",
            "--top-p",
            "--min-p",
            "--repeat-penalty",
            "--seed",
            "--cycles",
            "--min-cycles",
            "--exit-threshold",
            "--ctx",
        ],
    ),
    (&["run", "builtin", "hi", "-n=2"], &["--ctx", "--top-k"]),
    (&["run", "builtin", "hi", "--adapter", "cpu"], &["-n"]),
    (&["inspect"], &["--ctx"]),
    (
        &["trace", "builtin", "hi", "--adapter", "cpu"],
        &["--top", "--ids"],
    ),
    (
        &["perplexity", "--file", "/dev/null"],
        &["--limit", "--ctx"],
    ),
    (
        &["bench", "-n=2", "-r=1", "--adapter", "cpu"],
        &["--n-prompt", "--n-depth", "--parallel"],
    ),
    (
        &[
            "bench",
            "-p=1",
            "-n=0",
            "-r=1",
            "--adapter",
            "cpu",
            "--synthetic=tiny",
            "--stored-cycles=2",
        ],
        &["--head", "--tail"],
    ),
    (
        &["serve", "--port=70000"],
        &["--parallel", "--queue", "--timeout", "--max-body"],
    ),
];

fn edges() -> Result<()> {
    for (arguments, flags) in NUMERIC {
        for flag in flags {
            for number in NUMBERS {
                let given = format!("{flag}={number}");
                let run = output(command(&[arguments, &[&given]].concat()))?;
                is_well(&run).with_context(|| format!("{arguments:?} {given}"))?;
            }
        }
    }
    Ok(())
}
