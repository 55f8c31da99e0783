//! Lines that are typed before `chat` reads them are answered all the same, in their order.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rexpect::session::PtySession;
use serde_json::Value;

use super::model::ChatModel;
use super::terminal::{ask, chat, ends_well, spawn, spawn_in_shell};
use crate::compare::same;
use crate::fixtures::trial;

const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";

pub fn trials() -> Vec<Trial> {
    vec![
        trial("chat::typed_ahead::at_a_prompt", at_a_prompt),
        trial(
            "chat::typed_ahead::while_the_model_is_loaded",
            while_loading,
        ),
        trial("chat::typed_ahead::during_an_answer", during_an_answer),
        trial("chat::typed_ahead::a_signal_leaves_the_terminal", signalled),
    ]
}

/// The user's messages, as the file of `/save` has them.
fn said(model: &ChatModel) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(model.file("saved.json"))?;
    let messages: Vec<Value> = serde_json::from_str(&text)?;
    let said = messages.iter().filter(|m| m["role"] == "user");
    let said = said.map(|m| m["content"].as_str().map(str::to_string));
    said.collect::<Option<_>>().context("content")
}

fn save(model: &ChatModel) -> String {
    format!("/save {}", model.file("saved.json").display())
}

/// Types all at once and waits for the end.
fn types(mut session: PtySession, keys: &str) -> Result<()> {
    session.send(keys)?;
    session.flush()?;
    ends_well(session)
}

/// Ends of lines as a keyboard and as a program sends them, and a line that is edited.
fn lines(model: &ChatModel) -> String {
    let save = save(model);
    format!("Who is it?\rWhy so?\nAnd whenve\x7f\x7fce?\r{save}\r{CTRL_D}")
}

const SAID: [&str; 3] = ["Who is it?", "Why so?", "And whence?"];

fn at_a_prompt() -> Result<()> {
    let model = ChatModel::new()?;
    types(chat(&model, &["-n", "3"])?, &lines(&model))?;
    same("said", &said(&model)?, &SAID.map(str::to_string))
}

fn while_loading() -> Result<()> {
    let model = ChatModel::new()?;
    types(spawn(&model, &["-n", "3"])?, &lines(&model))?;
    same("said", &said(&model)?, &SAID.map(str::to_string))
}

/// Ctrl-C ends the answer, and takes nothing along.
fn during_an_answer() -> Result<()> {
    let model = ChatModel::endless()?;
    let flags = ["-n", "900000", "--ctx", "1000000", "--ignore-eos"];
    let mut session = chat(&model, &flags)?;
    ask(&mut session)?;
    let save = save(&model);
    types(session, &format!("{save}\r{CTRL_D}{CTRL_C}"))?;
    same("said", &said(&model)?, &["Who is it?".to_string()])
}

/// A signal that ends the program, here by Ctrl-\\, leaves the terminal as it was (without echo, as
/// the library of this test makes it).
fn signalled() -> Result<()> {
    let model = ChatModel::endless()?;
    let flags = ["-n", "900000", "--ctx", "1000000", "--ignore-eos"];
    let mut session = spawn_in_shell(&model, &flags)?;
    session.exp_string("lists the commands")?;
    session.exp_string("> ")?;
    ask(&mut session)?;
    session.send_control('\\')?;
    session.exp_string("status 131")?;
    let modes = session.exp_eof()?;
    for mode in [" icanon", " -noflsh"] {
        ensure!(modes.contains(mode), "no{mode} in {modes}");
    }
    Ok(())
}
