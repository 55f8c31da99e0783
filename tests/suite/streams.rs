//! Standard streams that cannot be used: closed, full, ended, or without an end. Standard error
//! changes neither the result nor the status.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::chat::model::ChatModel;
use crate::fixtures::trial;
use crate::program::{Run, command, environment, in_shell, output};

const TEXT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/classics-val.txt"
);

/// Every kind of command, each with the same result whenever it runs, and its status.
const COMMANDS: [(&[&str], i32); 15] = [
    (&RUN, 0),
    (&["trace", "builtin", "hi", "--adapter", "cpu"], 0),
    (&["trace", "builtin", "hi", "--adapter", "cpu", "--json"], 0),
    (&["inspect"], 0),
    (&["inspect", "--json"], 0),
    (&["devices"], 0),
    (&["completions", "bash"], 0),
    (&["--help"], 0),
    (&["help", "bench"], 0),
    (&["--version"], 0),
    (&[], 2),
    (&["run", "--nope"], 2),
    (&["run", "nowhere"], 1),
    (&["chat"], 1),
    (&["bench", "compare", "nowhere.json", "nowhere.json"], 1),
];

const RUN: [&str; 9] = [
    "run",
    "builtin",
    "hi",
    "-n",
    "3",
    "--seed",
    "1",
    "--adapter",
    "cpu",
];

/// Commands that print how long something took, which is never the same.
const TIMED: [&[&str]; 2] = [
    &["bench", "-p", "4", "-n", "2", "-r", "1", "--adapter", "cpu"],
    &[
        "perplexity",
        "--file",
        TEXT,
        "--limit",
        "8",
        "--adapter",
        "cpu",
    ],
];

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("streams::stderr_that_is_closed", || stderr("2>&-")),
        trial("streams::stderr_whose_reader_is_gone", ended_stderr),
        trial("streams::stdout_whose_reader_is_gone", ended_stdout),
        trial("streams::stdin_that_is_closed", closed_stdin),
        trial("streams::stdin_that_is_a_folder", folder_as_stdin),
        trial("streams::bytes_that_are_no_text", not_text),
        trial("streams::a_line_of_zeros", zeros),
    ];
    if cfg!(target_os = "linux") {
        trials.extend([
            trial("streams::stderr_that_is_full", || stderr("2>/dev/full")),
            trial("streams::stdout_that_is_full", full_stdout),
            trial("streams::text_without_end", endless),
        ]);
    }
    trials
}

fn is_refused(run: &Run, status: i32, words: &[&str]) -> Result<()> {
    let line = run.stderr.trim_end();
    ensure!(run.status == status, "status {}: {line}", run.status);
    let said = line.lines().filter(|line| line.starts_with("ztt-wgpu: "));
    ensure!(said.count() == 1, "not one line: {line}");
    for word in words {
        ensure!(line.contains(word), "no `{word}` in: {line}");
    }
    Ok(())
}

/// Standard error goes to what `redirection` says.
fn stderr(redirection: &str) -> Result<()> {
    for (arguments, status) in COMMANDS {
        let expected = output(command(arguments))?;
        let found = output(in_shell("", redirection, arguments))?;
        ensure!(
            expected.status == status,
            "{arguments:?}: {}",
            expected.status
        );
        ensure!(found.status == status, "{arguments:?}: {}", found.status);
        ensure!(
            found.stdout == expected.stdout,
            "{arguments:?}: another result"
        );
    }
    for arguments in TIMED {
        let found = output(in_shell("", redirection, arguments))?;
        ensure!(found.status == 0, "{arguments:?}: {}", found.status);
        ensure!(!found.stdout.is_empty(), "{arguments:?}: no result");
    }
    let model = ChatModel::new()?;
    let name = model.name();
    let chat = |redirection| {
        let arguments = ["chat", &name, "-n", "3", "--seed", "1", "--adapter", "cpu"];
        let mut chat = in_shell("", redirection, &arguments);
        chat.write_stdin("Who?\n/stats\n/help\n/nope\n");
        output(chat)
    };
    let (expected, found) = (chat("")?, chat(redirection)?);
    ensure!(
        found.status == 1 && found.stdout == expected.stdout,
        "{}",
        found.status
    );
    // The log goes there too.
    let mut logging = in_shell("", redirection, &RUN);
    logging.env("RUST_LOG", "trace");
    let (found, expected) = (output(logging)?, output(command(&RUN))?);
    ensure!(
        found.status == 0 && found.stdout == expected.stdout,
        "{}",
        found.status
    );
    Ok(())
}

/// The program with standard output or standard error that nobody reads any more.
fn ended(arguments: &[&str], end: impl FnOnce(&mut Command, Stdio)) -> Result<Run> {
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_ztt-wgpu"));
    command.args(arguments).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    environment(|variable, value| match value {
        Some(value) => drop(command.env(variable, value)),
        None => drop(command.env_remove(variable)),
    });
    end(&mut command, writer.into());
    let output = command.output()?;
    Ok(Run {
        status: output.status.code().context("ended by a signal")?,
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

fn ended_stderr() -> Result<()> {
    for (arguments, status) in COMMANDS {
        let found = ended(arguments, |command, end| {
            command.stderr(end);
        })?;
        ensure!(found.status == status, "{arguments:?}: {}", found.status);
        let expected = output(command(arguments))?.stdout;
        ensure!(found.stdout == expected, "{arguments:?}: another result");
    }
    Ok(())
}

/// As in `| head -1`: nobody wants more, which is no error.
fn ended_stdout() -> Result<()> {
    let timed = TIMED.map(|arguments| (arguments, 0));
    for (arguments, status) in COMMANDS.into_iter().chain(timed) {
        let found = ended(arguments, |command, end| {
            command.stdout(end);
        })?;
        ensure!(found.status == status, "{arguments:?}: {}", found.status);
        let complaints = found.stderr.lines().filter(|l| l.starts_with("ztt-wgpu: "));
        let expected = usize::from(status != 0 && !arguments.is_empty());
        ensure!(
            complaints.count() == expected,
            "{arguments:?}: {}",
            found.stderr
        );
    }
    Ok(())
}

fn full_stdout() -> Result<()> {
    let timed = TIMED.map(|arguments| (arguments, 0));
    let all = COMMANDS.into_iter().chain(timed);
    for (arguments, _) in all.filter(|(_, status)| *status == 0) {
        let run = output(in_shell("", ">/dev/full", arguments))?;
        is_refused(&run, 1, &["standard output", "No space left"])
            .with_context(|| format!("{arguments:?}"))?;
    }
    Ok(())
}

fn closed_stdin() -> Result<()> {
    let model = ChatModel::new()?;
    let name = model.name();
    let host = ["--adapter", "cpu", "-n", "3"];
    for arguments in [&["chat", &name][..], &["run", &name, "-"], &["run", &name]] {
        let run = output(in_shell("", "<&-", &[arguments, &host].concat()))?;
        ensure!(
            run.status == 0,
            "{arguments:?}: {} {}",
            run.status,
            run.stderr
        );
    }
    Ok(())
}

fn folder_as_stdin() -> Result<()> {
    let model = ChatModel::new()?;
    let name = model.name();
    let perplexity: &[&str] = &["perplexity", &name, "--file", "-"];
    for arguments in [&["chat", &name][..], &["run", &name, "-"], perplexity] {
        let run = output(in_shell(
            "",
            "</",
            &[arguments, &["--adapter", "cpu"]].concat(),
        ))?;
        is_refused(&run, 1, &["standard input", "directory"])?;
    }
    Ok(())
}

/// On bytes that are not UTF-8, a conversation goes on with a warning; a prompt is refused.
fn not_text() -> Result<()> {
    let model = ChatModel::new()?;
    let (name, file) = (model.name(), model.file("saved.json"));
    let arguments = ["chat", &name, "-n", "3", "--adapter", "cpu"];
    let mut chat = command(&arguments);
    let save = format!("/save {}\n", file.display());
    chat.write_stdin([b"caf\xe9?\n\0Who?\n", save.as_bytes()].concat());
    let run = output(chat)?;
    ensure!(run.status == 0, "{} {}", run.status, run.stderr);
    let warned = run.stderr.lines().filter(|l| l.contains("0xe9"));
    ensure!(warned.count() == 1, "{}", run.stderr);
    let saved: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    ensure!(saved[0]["content"] == "caf\u{fffd}?", "{saved}");
    ensure!(saved[2]["content"] == "\0Who?", "{saved}");
    let mut prompt = command(&["run", &name, "-", "--adapter", "cpu"]);
    prompt.write_stdin(b"caf\xe9");
    is_refused(
        &output(prompt)?,
        1,
        &["standard input", "UTF-8", "0xe9", "position 3"],
    )
}

/// A line longer than any context ends a script in one line, before it fills the memory.
fn zeros() -> Result<()> {
    let model = ChatModel::new()?;
    let mut chat = command(&["chat", &model.name(), "-n", "3", "--adapter", "cpu"]);
    chat.write_stdin(vec![b'a'; 20_000_000]);
    is_refused(&output(chat)?, 1, &["standard input", "at most 16 MiB"])
}

/// An input without end is not read for ever.
fn endless() -> Result<()> {
    let model = ChatModel::new()?;
    let name = model.name();
    let device: &[&str] = &["expected a file or a pipe", "a character device"];
    let too_long: &[&str] = &["at most", "MiB"];
    for (arguments, words) in [
        (&["chat", &name][..], too_long),
        (&["run", &name, "-"], too_long),
        (&["run", &name, "--file", "/dev/zero"], device),
        (&["perplexity", &name, "--file", "/dev/zero"], device),
    ] {
        let host = ["--adapter", "cpu"];
        let run = output(in_shell("", "</dev/zero", &[arguments, &host].concat()))?;
        is_refused(&run, 1, words).with_context(|| format!("{arguments:?}"))?;
    }
    Ok(())
}
