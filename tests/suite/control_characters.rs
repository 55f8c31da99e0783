//! Names, configs, vocabularies and generated text do not steer the terminal they are shown on.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use ztt_wgpu::model::{BUILTIN, Fetch, Model};

use crate::chat::model::ChatModel;
use crate::fixtures::trial;
use crate::program::{Checkpoint, Run, command, output, run, succeed};

/// Clears the screen, ends the line, starts a sequence in one character, rings, deletes, and turns
/// the direction of writing. The letters are printable and stay.
const STEERS: &str = "é\u{1b}[2J\n\r\u{9b}31m\u{7}\u{8}\u{7f}\u{202e}\u{2066}日";

/// How that is shown.
const SHOWN: &str = "é\\u{1b}[2J\\n\\r\\u{9b}31m\\u{7}\\u{8}\\u{7f}\\u{202e}\\u{2066}日";

pub fn trials() -> Vec<Trial> {
    vec![
        trial("control_characters::in_names_of_files", names),
        trial("control_characters::in_arguments", arguments),
        trial("control_characters::in_variables_of_the_help", help),
        trial("control_characters::in_configs_and_headers", configs),
        trial("control_characters::in_reports", reports),
        trial("control_characters::in_generated_text", generated),
        #[cfg(unix)]
        trial("control_characters::in_names_that_are_no_text", no_text),
    ]
}

/// The output of `run` holds `words`, and nothing that steers a terminal.
fn is_printable(run: &Run, words: &[&str]) -> Result<()> {
    let said = format!("{}{}", run.stdout, run.stderr);
    for c in said.chars() {
        let steers = matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let steers = steers || c.is_control() && c != '\n';
        ensure!(!steers, "{c:?} in {said:?}");
    }
    for word in words {
        ensure!(said.contains(word), "no `{word}` in: {said}");
    }
    Ok(())
}

/// The program fails with one line that holds `words`.
fn fails(arguments: &[&str], status: i32, words: &[&str]) -> Result<()> {
    let run = run(arguments)?;
    ensure!(run.status == status, "{arguments:?}: {}", run.status);
    ensure!(run.stderr.trim_end().lines().count() == 1, "{}", run.stderr);
    is_printable(&run, words).with_context(|| format!("{arguments:?}"))
}

fn names() -> Result<()> {
    let missing = format!("/nowhere/{STEERS}");
    for arguments in [
        &["run", &missing, "hi"][..],
        &["inspect", &missing],
        &["run", "builtin", "--file", &missing],
        &["perplexity", "--file", &missing],
        &["bench", "compare", &missing, &missing],
        &["trace", "builtin", "hi", "--html", &missing],
    ] {
        fails(arguments, 1, &[SHOWN])?;
    }
    // A model that is there, under a name like that.
    let folder = tempfile::tempdir()?;
    let model = folder.path().join(STEERS);
    std::fs::create_dir(&model)?;
    let source = ChatModel::new()?;
    let weights = "model.safetensors";
    std::fs::copy(source.file(weights), model.join(weights))?;
    let model = model.display().to_string();
    let host = ["--adapter", "cpu"];
    let file = folder.path().join(format!("{STEERS}.safetensors"));
    let file = file.display().to_string();
    for arguments in [
        &[&["run", &model, "hi", "-n", "2"][..], &host].concat()[..],
        &[&["trace", &model, "hi"][..], &host].concat(),
        &[
            &["bench", &model, "-p", "4", "-n", "2", "-r", "1"][..],
            &host,
        ]
        .concat(),
        &["inspect", &model],
        &["inspect", &model, "--json"],
        &["pack", &model, "-o", &file],
    ] {
        let run = run(arguments)?;
        ensure!(run.status == 0, "{arguments:?}: {}", run.stderr);
        is_printable(&run, &["日"]).with_context(|| format!("{arguments:?}"))?;
    }
    // Programs find the name itself.
    let found: Value = serde_json::from_str(&succeed(&["inspect", &model, "--json"])?)?;
    ensure!(found["model"] == model.as_str(), "{found}");
    Ok(())
}

/// The parser of arguments drops some of these characters from its messages; the others are shown
/// as escapes.
fn arguments() -> Result<()> {
    fails(&["run", "--ctx", STEERS], 2, &["\\u{9b}31m", "--ctx"])?;
    fails(&[&format!("--{STEERS}")], 2, &["\\u{9b}31m"])?;
    fails(&[STEERS], 2, &["\\u{9b}31m"])?;
    fails(&["run", "--adapter", STEERS], 1, &[SHOWN])?;
    fails(&["trace", "--ids", "1 \u{1b}[2J"], 1, &["\\u{1b}[2J"])
}

fn help() -> Result<()> {
    let mut command = command(&["run", "--help"]);
    command.env("ZTT_MODEL", "\u{9b}2J\u{7}");
    is_printable(&output(command)?, &["\\u{9b}2J"])
}

#[cfg(unix)]
fn no_text() -> Result<()> {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let mut run = command(&["run", "builtin", "--file"]);
    run.arg(OsStr::from_bytes(b"/nowhere/\xff\x1b"));
    let run = output(run)?;
    ensure!(run.status == 1, "{}", run.status);
    is_printable(&run, &["/nowhere/\u{fffd}\\u{1b}"])
}

fn configs() -> Result<()> {
    for (field, value) in [
        ("model_type", json!(STEERS)),
        ("hidden_size", json!(STEERS)),
        ("hidden_act", json!(STEERS)),
    ] {
        let checkpoint = Checkpoint::copy_of("llama-plain")?.set("", field, value)?;
        fails(&["inspect", &checkpoint.name()], 1, &["[2J"]).with_context(|| field.to_string())?;
    }
    let name = "model.norm.weight";
    let checkpoint = Checkpoint::copy_of("llama-plain")?;
    let checkpoint = checkpoint.header(name, "\\u001b[2J\u{9b}\u{202e}x")?;
    is_printable(
        &run(&["inspect", &checkpoint.name()])?,
        &["model.norm.weight"],
    )?;
    let template = "{{ raise_exception('\u{1b}[2J\u{9b}') }}";
    let model = ChatModel::without_template()?.with("chat_template.jinja", template)?;
    let mut chat = command(&["chat", &model.name(), "--adapter", "cpu"]);
    chat.write_stdin("Who?\n/nope\n");
    is_printable(&output(chat)?, &["\\u{1b}[2J"])?;
    let mut chat = command(&["chat", &model.name(), "--adapter", "cpu"]);
    chat.write_stdin("/\u{1b}[2J\n");
    is_printable(&output(chat)?, &["`/\\u{1b}[2J`"])
}

fn reports() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("report.json").display().to_string();
    let flags = ["-p", "4", "-n", "2", "-r", "1", "--adapter", "cpu"];
    let report = succeed(&[&["bench"], &flags[..], &["-o", "json"]].concat())?;
    let mut report: Value = serde_json::from_str(&report)?;
    report["adapter"]["name"] = STEERS.into();
    report["rows"][0]["model"] = STEERS.into();
    std::fs::write(&file, report.to_string())?;
    let run = run(&["bench", "compare", &file, &file])?;
    ensure!(run.status == 0, "{}", run.stderr);
    is_printable(&run, &[SHOWN])
}

/// The embedded model, whose texts have an escape character for each `e`.
pub fn escaping() -> Result<ChatModel> {
    let model = Model::open(BUILTIN, Fetch::Never)?;
    let texts = model.texts.iter().find(|t| t.name == "tokenizer.json");
    // `ě` stands for the byte of the escape character in such vocabularies.
    let swap = |c| match c {
        'e' => 'ě',
        'ě' => 'e',
        c => c,
    };
    let mut tokenizer: Value = serde_json::from_str(&texts.context("tokenizer")?.text)?;
    let vocab = tokenizer["model"]["vocab"].as_object().context("vocab")?;
    let vocab = vocab.iter().map(|(token, id)| match token.as_str() {
        "<|endoftext|>" => (token.clone(), id.clone()),
        token => (token.chars().map(swap).collect(), id.clone()),
    });
    let vocab: serde_json::Map<_, _> = vocab.collect();
    tokenizer["model"]["vocab"] = vocab.into();
    let merges = tokenizer["model"]["merges"].as_array_mut();
    for part in merges.context("merges")?.iter_mut() {
        for token in part.as_array_mut().context("merge")? {
            let swapped: String = token.as_str().context("token")?.chars().map(swap).collect();
            *token = swapped.into();
        }
    }
    ChatModel::new()?.with("tokenizer.json", &tokenizer.to_string())
}

/// A pipe gets the text as it is; a trace, which is for people, shows escapes.
fn generated() -> Result<()> {
    let model = escaping()?;
    let name = model.name();
    let flags = ["-n", "40", "--seed", "1", "--adapter", "cpu"];
    let text = succeed(&[&["run", &name, "ROMEO:"], &flags[..]].concat())?;
    ensure!(text.contains('\u{1b}'), "{text:?}");
    let trace = run(&["trace", &name, &text, "--adapter", "cpu"])?;
    is_printable(&trace, &["\\u{1b}"])?;
    let json = ["trace", &name, &text, "--json", "--adapter", "cpu"];
    is_printable(&run(&json)?, &["\\u001b"])
}
