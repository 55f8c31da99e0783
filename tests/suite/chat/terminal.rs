//! `chat` and `run` at a terminal: line editing, and what Ctrl-C does.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rexpect::process::WaitStatus;
use rexpect::session::{Options, PtySession, spawn_with_options};
use serde_json::Value;

use super::model::{ChatModel, TEMPLATE};
use crate::control_characters::escaping;
use crate::fixtures::trial;
use crate::models::SMOLLM2;
use crate::program::environment;

const LEFT: &str = "\x1b[D";
const UP: &str = "\x1b[A";

/// How long a terminal waits for a text: only a failing test waits as long.
const PATIENCE_MS: u64 = 300_000;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("chat::terminal::lines_are_edited_and_remembered", editing),
        trial("chat::terminal::ctrl_c_ends_the_answer_alone", ctrl_c),
        trial("chat::terminal::mistakes_do_not_end_it", mistakes),
        trial("chat::terminal::ctrl_c_ends_a_script", script_ctrl_c),
        trial("run::ctrl_c_ends_it_with_statistics", run_ctrl_c),
        trial("chat::terminal::ctrl_c_without_line_editing", dumb_ctrl_c),
        trial("chat::terminal::windows_of_odd_sizes", odd_sizes),
        trial("chat::terminal::bytes_that_are_no_text", not_text),
        trial(
            "chat::terminal::generated_text_steers_no_terminal",
            generated,
        ),
        busy(),
    ]
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ztt-wgpu"));
    command.args(arguments).env("TERM", "xterm");
    environment(|variable, value| match value {
        Some(value) => drop(command.env(variable, value)),
        None => drop(command.env_remove(variable)),
    });
    command
}

fn in_terminal(command: Command) -> Result<PtySession> {
    let options = Options::new()
        .timeout_ms(Some(PATIENCE_MS))
        .strip_ansi_escape_codes(true);
    Ok(spawn_with_options(command, options)?)
}

fn chat_command(model: &ChatModel, flags: &[&str]) -> Command {
    let name = model.name();
    let host = ["--adapter", "cpu", "--temperature", "0"];
    program(&[&["chat", &name], &host[..], flags].concat())
}

/// A chat on the reference, which has only just begun.
pub fn spawn(model: &ChatModel, flags: &[&str]) -> Result<PtySession> {
    in_terminal(chat_command(model, flags))
}

/// A chat on the reference in a shell, which then prints the state of the terminal.
pub fn spawn_in_shell(model: &ChatModel, flags: &[&str]) -> Result<PtySession> {
    let chat = chat_command(model, flags);
    let mut shell = Command::new("sh");
    // The signal goes to both; a shell's handlers are not inherited by its children.
    let script = "trap : QUIT; \"$0\" \"$@\"; echo status $?; stty -a";
    shell
        .args(["-c", script])
        .arg(chat.get_program())
        .args(chat.get_args());
    for (variable, value) in chat.get_envs() {
        match value {
            Some(value) => drop(shell.env(variable, value)),
            None => drop(shell.env_remove(variable)),
        }
    }
    in_terminal(shell)
}

/// A chat on the reference, at its first prompt.
pub fn chat(model: &ChatModel, flags: &[&str]) -> Result<PtySession> {
    let mut session = spawn(model, flags)?;
    session.exp_string("lists the commands")?;
    session.exp_string("> ")?;
    Ok(session)
}

/// Asks something, and waits for the echo and for the first line of the answer.
pub fn ask(session: &mut PtySession) -> Result<()> {
    session.send_line("Who is it?")?;
    session.exp_string("Who is it?")?;
    session.exp_regex("[a-z]+[^\n]*\n")?;
    Ok(())
}

pub fn ends_well(mut session: PtySession) -> Result<()> {
    session.exp_eof()?;
    let status = session.process().wait()?;
    ensure!(matches!(status, WaitStatus::Exited(_, 0)), "{status:?}");
    Ok(())
}

fn editing() -> Result<()> {
    let model = ChatModel::new()?;
    let file = model.file("saved.json");
    let mut session = chat(&model, &["-n", "3"])?;
    // An `o` is put where it was left out.
    session.send(&format!("Wh is it?{}", LEFT.repeat(7)))?;
    session.send_line("o")?;
    session.exp_string("was cut after 3 tokens")?;
    session.exp_string("> ")?;
    // Ctrl-C drops the typed line; up brings the first line back.
    session.send("never said")?;
    session.flush()?;
    session.exp_string("never said")?;
    session.send_control('c')?;
    session.send(UP)?;
    session.flush()?;
    session.exp_string("Who is it?")?;
    session.send_line("")?;
    session.exp_string("was cut after 3 tokens")?;
    session.exp_string("> ")?;
    session.send_line(&format!("/save {}", file.display()))?;
    session.exp_string("wrote ")?;
    session.exp_string("> ")?;
    session.send_control('d')?;
    ends_well(session)?;
    let messages: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    let said = messages.iter().filter(|m| m["role"] == "user");
    let said: Vec<_> = said.map(|m| &m["content"]).collect();
    ensure!(said == ["Who is it?", "Who is it?"], "{said:?}");
    Ok(())
}

fn ctrl_c() -> Result<()> {
    let model = ChatModel::endless()?;
    let flags = ["-n", "900000", "--ctx", "1000000", "--ignore-eos"];
    let mut session = chat(&model, &flags)?;
    ask(&mut session)?;
    session.send_control('c')?;
    session.exp_string("> ")?;
    session.send_line("/stats")?;
    session.exp_regex("generated [1-9][0-9]* tokens")?;
    session.exp_string("> ")?;
    session.send_control('c')?;
    ends_well(session)
}

fn mistakes() -> Result<()> {
    let template = format!("{{% if messages[-1].content != 'mum' %}}{TEMPLATE}{{% endif %}}");
    let model = ChatModel::without_template()?.with("chat_template.jinja", &template)?;
    let mut session = chat(&model, &["-n", "3", "--ctx", "32"])?;
    session.send_line("/nope")?;
    session.exp_string("no command is called `/nope`")?;
    session.exp_string("> ")?;
    session.send_line(&"too long a line ".repeat(20))?;
    session.exp_string("expected at most 32 tokens")?;
    session.exp_string("> ")?;
    session.send_line("mum")?;
    session.exp_string("ztt-wgpu: the chat template writes nothing: ")?;
    session.exp_string("> ")?;
    // It has left no trace.
    session.send_line("Who?")?;
    session.exp_string("was cut after 3 tokens")?;
    session.exp_string("> ")?;
    session.send_line("/exit")?;
    ends_well(session)
}

/// A chat at its first prompt, on a terminal that cannot edit lines.
fn dumb(model: &ChatModel, flags: &[&str]) -> Result<PtySession> {
    let mut command = chat_command(model, flags);
    command.env("TERM", "dumb");
    let mut session = in_terminal(command)?;
    session.exp_string("lists the commands")?;
    session.exp_string("> ")?;
    Ok(session)
}

/// Ctrl-C drops the line that is being typed, ends an answer without the lines typed meanwhile, and
/// leaves at an empty prompt.
fn dumb_ctrl_c() -> Result<()> {
    let model = ChatModel::endless()?;
    let flags = ["-n", "900000", "--ctx", "1000000", "--ignore-eos"];
    let mut session = dumb(&model, &flags)?;
    session.send("never said")?;
    session.send_control('c')?;
    session.exp_string("> ")?;
    session.send_line("Who is it?")?;
    session.exp_regex("[a-z]+[^\n]*\n")?;
    let file = model.file("saved.json");
    session.send_line(&format!("/save {}", file.display()))?;
    session.send_control('c')?;
    session.exp_string("wrote ")?;
    session.exp_string("> ")?;
    session.send_control('c')?;
    ends_well(session)?;
    let messages: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    ensure!(messages[0]["content"] == "Who is it?", "{messages:?}");
    Ok(())
}

/// A terminal without a size has a window of no columns.
fn odd_sizes() -> Result<()> {
    for (term, size) in [
        ("xterm", "0"),
        ("xterm", "1"),
        ("xterm", "65535"),
        ("dumb", "1"),
    ] {
        let model = ChatModel::new()?;
        let chat = chat_command(&model, &["-n", "3"]);
        let mut shell = Command::new("sh");
        let script = format!("stty cols {size} rows {size}; exec \"$0\" \"$@\"");
        shell
            .args(["-c", &script])
            .arg(chat.get_program())
            .args(chat.get_args());
        shell.env("TERM", term);
        let mut session = in_terminal(shell)?;
        let file = model.file("saved.json");
        session.send_line("Who is it?")?;
        session.send_line(&format!("/save {}", file.display()))?;
        session.send_line("/exit")?;
        ends_well(session).with_context(|| format!("{term} {size}"))?;
        let messages: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(file)?)?;
        ensure!(messages[0]["content"] == "Who is it?", "{messages:?}");
    }
    Ok(())
}

/// Keys that are no characters in UTF-8.
fn type_bytes(session: &PtySession, bytes: &[u8]) -> Result<()> {
    let mut terminal = session.process().get_file_handle()?;
    Ok(terminal.write_all(bytes)?)
}

/// Other bytes are complained of in one line, and the conversation goes on.
fn not_text() -> Result<()> {
    let model = ChatModel::new()?;
    let mut session = chat(&model, &["-n", "3"])?;
    type_bytes(&session, b"caf\xe9?\r")?;
    session.exp_string("warning: the terminal: expected UTF-8")?;
    session.exp_string("> ")?;
    session.send_line("Who?")?;
    session.exp_string("was cut after 3 tokens")?;
    session.exp_string("> ")?;
    session.send_line("/exit")?;
    ends_well(session)?;
    let mut session = dumb(&model, &["-n", "3"])?;
    type_bytes(&session, b"caf\xe9?\n")?;
    session.exp_string("warning: standard input: expected UTF-8, found the byte 0xe9")?;
    session.exp_string("was cut after 3 tokens")?;
    session.exp_string("> ")?;
    session.send_control('d')?;
    ends_well(session)
}

/// Generated text is shown with escapes for characters that would steer the terminal.
fn generated() -> Result<()> {
    let model = escaping()?;
    let name = model.name();
    let flags = ["-n", "40", "--seed", "1", "--adapter", "cpu"];
    let run = program(&[&["run", &name, "ROMEO:"], &flags[..]].concat());
    let options = Options::new()
        .timeout_ms(Some(PATIENCE_MS))
        .strip_ansi_escape_codes(false);
    let mut session = spawn_with_options(run, options)?;
    let text = session.exp_eof()?;
    ensure!(
        text.contains("\\u{1b}") && !text.contains('\u{1b}'),
        "{text:?}"
    );
    Ok(())
}

/// A program without a terminal, its standard input open and empty.
fn running(arguments: &[&str]) -> Result<Child> {
    let mut command = program(arguments);
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command.spawn()?)
}

/// Reads standard error up to where it says what the program runs with.
fn started(child: &mut Child) -> Result<()> {
    let stderr = child.stderr.as_mut().context("stderr")?;
    let mut said = String::new();
    while !said.contains("seed") {
        let mut byte = [0];
        stderr.read_exact(&mut byte)?;
        said.push(char::from(byte[0]));
    }
    Ok(())
}

/// Sends the signal of Ctrl-C; the status, and the rest of standard error.
fn interrupt(mut child: Child) -> Result<(Option<i32>, String)> {
    let signal = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()?;
    ensure!(signal.success(), "kill: {signal}");
    let mut rest = String::new();
    let stderr = child.stderr.as_mut().context("stderr")?;
    stderr.read_to_string(&mut rest)?;
    Ok((child.wait()?.code(), rest))
}

/// A script that waits for its next line is ended too.
fn script_ctrl_c() -> Result<()> {
    let model = ChatModel::new()?;
    let mut child = running(&["chat", &model.name(), "--adapter", "cpu"])?;
    started(&mut child)?;
    let stdin = child.stdin.take();
    let (status, stderr) = interrupt(child)?;
    drop(stdin);
    ensure!(status == Some(130), "{status:?}: {stderr}");
    Ok(())
}

fn run_ctrl_c() -> Result<()> {
    let model = ChatModel::endless()?;
    let name = model.name();
    let mut child = running(&[
        "run",
        &name,
        "Who",
        "--ctx",
        "1000000",
        "-n",
        "900000",
        "--ignore-eos",
        "--adapter",
        "cpu",
    ])?;
    // Taken away but not closed: it goes on writing until it is told to end.
    let mut stdout = child.stdout.take().context("stdout")?;
    stdout.read_exact(&mut [0; 3])?;
    let drain = std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    let (status, stderr) = interrupt(child)?;
    ensure!(status == Some(130), "{status:?}: {stderr}");
    // The latter where the machine was too slow to end in time by itself.
    let words = ["\ncycles ", "interrupted, prompt of "];
    ensure!(words.iter().any(|w| stderr.contains(w)), "{stderr}");
    let written = drain.join().ok().context("reading")??;
    ensure!(written > 0, "nothing was written");
    Ok(())
}

/// A prompt of which the reference takes seconds for each batch is not waited for.
fn busy() -> Trial {
    let name = "run::ctrl_c_does_not_wait_for_a_busy_device";
    let Some(folder) = std::env::var_os(SMOLLM2) else {
        let reason = format!("{SMOLLM2} is not set");
        let skipped = trial(name, || Ok(()));
        return skipped.with_kind(reason).with_ignored_flag(true);
    };
    trial(name, move || {
        let folder = folder.to_str().context("path")?;
        let prompt = "word ".repeat(1000);
        let mut child = running(&["run", folder, &prompt, "--adapter", "cpu"])?;
        started(&mut child)?;
        let (status, rest) = interrupt(child)?;
        ensure!(status == Some(130), "{status:?}: {rest}");
        ensure!(rest.contains("interrupted, prompt of 10"), "{rest}");
        Ok(())
    })
}
