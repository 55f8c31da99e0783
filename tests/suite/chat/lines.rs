//! `chat` over the lines of standard input.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::model::{ChatModel, TEMPLATE};
use crate::compare::same;
use crate::errors::fails;
use crate::fixtures::trial;
use crate::program::{Run, command, output, succeed};

/// Greedy answers on the reference.
const FLAGS: [&str; 4] = ["--adapter", "cpu", "--temperature", "0"];

/// Tokens of an answer where a test does not say otherwise.
const LENGTH: [&str; 2] = ["-n", "12"];

pub fn trials() -> Vec<Trial> {
    vec![
        trial("chat::lines::a_turn_runs_only_what_is_new", prefix),
        trial("chat::lines::commands", commands),
        trial("chat::lines::a_full_context_is_one_line", full_context),
        trial("chat::lines::ctx_shift_drops_the_oldest_turns", ctx_shift),
        trial("chat::lines::a_single_file_has_its_template", single_file),
        trial("chat::lines::templates_in_tokenizer_config", in_config),
        trial("chat::lines::answers_end_at_any_eos_token", eos),
        trial("chat::lines::errors", errors),
        trial("chat::lines::a_template_that_writes_nothing", nothing),
    ]
}

/// A session with `lines` on its standard input.
fn chat(model: &ChatModel, flags: &[&str], lines: &[&str]) -> Result<Run> {
    let length: &[&str] = match flags.contains(&LENGTH[0]) {
        true => &[],
        false => &LENGTH,
    };
    let name = model.name();
    let mut command = command(&[&["chat", &name], &FLAGS[..], length, flags].concat());
    command.write_stdin(lines.join("\n"));
    output(command)
}

/// A session with `lines` on its standard input, which must succeed.
fn held(model: &ChatModel, flags: &[&str], lines: &[&str]) -> Result<Run> {
    let run = chat(model, flags, lines)?;
    ensure!(run.status == 0, "status {}: {}", run.status, run.stderr);
    Ok(run)
}

/// The numbers in every line of statistics that begins with `word`.
fn numbers(run: &Run, word: &str) -> Result<Vec<Vec<usize>>> {
    let lines = run.stderr.lines().filter(|line| line.starts_with(word));
    let numbers = |line: &str| {
        let words = line.split_whitespace();
        words.filter_map(|word| word.parse().ok()).collect()
    };
    let found: Vec<_> = lines.map(numbers).collect();
    ensure!(!found.is_empty(), "no `{word}` in {}", run.stderr);
    Ok(found)
}

fn prefix() -> Result<()> {
    let model = ChatModel::new()?;
    let run = held(&model, &[], &["Who is it?", "/stats", "Why so?", "/stats"])?;
    let cached = numbers(&run, "cached")?;
    let (first, second) = (cached[0][1], cached[1][1]);
    // The last token of the first answer was never run.
    same(
        "cached",
        &cached,
        &[vec![0, first], vec![first + 11, second]],
    )?;
    let prompts = numbers(&run, "prompt")?;
    same("run", &[prompts[0][0]], &[first])?;
    same("run", &[prompts[1][0]], &[second - first - 11])?;
    same(
        "context",
        &numbers(&run, "context")?[1],
        &[second + 11, 384],
    )?;
    Ok(())
}

fn commands() -> Result<()> {
    let model = ChatModel::new()?;
    let file = model.file("saved.json");
    let save = format!("/save {}", file.display());
    let lines = ["/system SCENE II. A street.", "", "Who is it?", &save];
    let run = held(&model, &[], &lines)?;
    let messages = |file: &std::path::Path| -> Result<Value> {
        Ok(serde_json::from_str(&std::fs::read_to_string(file)?)?)
    };
    let expected = json!([
        {"role": "system", "content": "SCENE II. A street."},
        {"role": "user", "content": "Who is it?"},
        {"role": "assistant", "content": run.stdout.strip_suffix('\n').context("line")?},
    ]);
    same("messages", &[messages(&file)?], &[expected])?;
    // The flag says the same as the command, which is not the same as nothing.
    let flag = held(
        &model,
        &["--system", "SCENE II. A street."],
        &["Who is it?"],
    )?;
    same("answer", &[&flag.stdout], &[&run.stdout])?;
    let plain = held(&model, &[], &["Who is it?"])?.stdout;
    ensure!(plain != flag.stdout, "the system message changes nothing");
    let lines = ["/system SCENE II. A street.", "/system", "Who is it?"];
    same(
        "no system",
        &[held(&model, &[], &lines)?.stdout],
        std::slice::from_ref(&plain),
    )?;
    // After a reset the first turn is the first again.
    let lines = ["Who is it?", "/reset", "Who is it?", &save, "/exit", "Why?"];
    let run = held(&model, &[], &lines)?;
    same("answers", &[run.stdout], &[plain.repeat(2)])?;
    same(
        "messages",
        &[messages(&file)?.as_array().map(Vec::len)],
        &[Some(2)],
    )?;
    let run = held(&model, &[], &["/help", "/stats"])?;
    ensure!(run.stdout.is_empty(), "{:?}", run.stdout);
    ensure!(run.stderr.contains("/save FILE") && run.stderr.contains("0 of 384"));
    Ok(())
}

const LONG: &str = "Tell me more of it, and of the others, and of the rest of them.";

fn full_context() -> Result<()> {
    let model = ChatModel::new()?;
    let run = chat(&model, &["--ctx", "96"], &[LONG; 6])?;
    ensure!(run.status == 1, "status {}", run.status);
    ensure!(
        !run.stdout.is_empty(),
        "no answer before the context is full"
    );
    let last = run.stderr.lines().last().context("no line")?;
    for words in [
        "ztt-wgpu: ",
        "/reset",
        "--ctx-shift",
        "expected at most 96 tokens",
    ] {
        ensure!(last.contains(words), "no `{words}` in: {last}");
    }
    // An answer may fill it too.
    let run = held(&model, &["--ctx", "48", "-n", "99"], &[LONG])?;
    let words = "the context of 48 positions is full";
    ensure!(run.stderr.contains(words), "{}", run.stderr);
    Ok(())
}

fn ctx_shift() -> Result<()> {
    let model = ChatModel::new()?;
    let file = model.file("saved.json");
    let save = format!("/save {}", file.display());
    let flags = ["--ctx", "96", "--ctx-shift", "--system", "Enter ROMEO."];
    let other = format!("And so? {LONG}");
    let run = held(&model, &flags, &[LONG, &other, LONG, "/stats", &save])?;
    ensure!(
        run.stderr
            .contains("oldest turns dropped to fit the context: 1")
    );
    // Of the cached positions only the system message is left in front.
    let cached = &numbers(&run, "cached")?[0];
    ensure!((1..20).contains(&cached[0]), "{cached:?}");
    // Dropped turns are saved all the same.
    let messages: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
    same("messages", &[messages.len()], &[7])?;
    let run = chat(&model, &["--ctx", "24", "--ctx-shift"], &[LONG])?;
    let last = run.stderr.lines().last().context("no line")?;
    ensure!(
        run.status == 1 && last.contains("this message alone"),
        "{last}"
    );
    Ok(())
}

fn single_file() -> Result<()> {
    let model = ChatModel::new()?;
    let elsewhere = tempfile::tempdir()?;
    let file = elsewhere.path().join("one.safetensors");
    let file = file.display().to_string();
    succeed(&["pack", &model.name(), "-o", &file])?;
    let mut packed = command(&[&["chat", &file], &FLAGS[..], &LENGTH].concat());
    packed.write_stdin("Who is it?");
    let answer = held(&model, &[], &["Who is it?"])?.stdout;
    same("answer", &[output(packed)?.stdout], &[answer])
}

fn in_config() -> Result<()> {
    let answer = held(&ChatModel::new()?, &[], &["Who is it?"])?.stdout;
    let named =
        json!([{"name": "rag", "template": "no"}, {"name": "default", "template": TEMPLATE}]);
    for template in [json!(TEMPLATE), named] {
        let config = json!({"chat_template": template, "eos_token": {"content": "x"}});
        let model = ChatModel::without_template()?;
        let model = model.with("tokenizer_config.json", &config.to_string())?;
        let found = held(&model, &[], &["Who is it?"])?.stdout;
        same("answer", &[found], std::slice::from_ref(&answer))?;
    }
    Ok(())
}

/// The token that the answer's second word begins with is made one that ends it.
fn eos() -> Result<()> {
    let model = ChatModel::new()?;
    let whole = held(&model, &[], &["Who is it?"])?.stdout;
    let tokens = ztt_wgpu::model::Model::open(&model.name(), ztt_wgpu::model::Fetch::Never)?;
    let ids = tokens.tokenizer()?.encode_verbatim(whole.trim_end())?;
    let config = json!({"eos_token_id": [0, ids[2]]});
    let model = model.with("generation_config.json", &config.to_string())?;
    let cut = held(&model, &[], &["Who is it?"])?;
    let (cut, stderr) = (cut.stdout, cut.stderr);
    ensure!(
        cut.len() < whole.len() && whole.starts_with(cut.trim_end()),
        "{cut:?}"
    );
    ensure!(!stderr.contains("was cut"), "{stderr}");
    let on = held(&model, &["--ignore-eos"], &["Who is it?"])?.stdout;
    same("ignored", &[on], &[whole])
}

fn errors() -> Result<()> {
    let none = [
        "has no chat template",
        "chat_template.jinja",
        "found neither",
    ];
    fails(&["chat"], 1, &none)?;
    let bad = |name: &str, text: &str, words: &[&str]| -> Result<()> {
        let model = ChatModel::without_template()?.with(name, text)?;
        fails(&["chat", &model.name()], 1, words)
    };
    bad(
        "chat_template.jinja",
        "{% for %}",
        &["chat_template.jinja", "expected a chat template"],
    )?;
    let config = "tokenizer_config.json";
    bad(
        config,
        r#"{"chat_template": 3}"#,
        &["`chat_template`", "a string"],
    )?;
    let named = r#"{"chat_template": [{"name": "rag", "template": ""}]}"#;
    bad(config, named, &["`default`", "`rag`"])?;
    // A message that the template refuses ends a script, after the answers to the lines before.
    let refuses = format!(
        "{{% if messages[0].role == 'system' %}}{{{{ raise_exception('No system!') }}}}{{% endif %}}{TEMPLATE}"
    );
    let model = ChatModel::without_template()?.with("chat_template.jinja", &refuses)?;
    let run = chat(&model, &[], &["Hello", "/system Be brief.", "Hello"])?;
    let last = run.stderr.lines().last().context("no line")?;
    ensure!(run.status == 1 && last.contains("No system!"), "{last}");
    ensure!(!run.stdout.is_empty(), "no answer before the error");
    let run = chat(&model, &[], &["/nope"])?;
    ensure!(
        run.status == 1 && run.stderr.contains("`/nope`"),
        "{}",
        run.stderr
    );
    let run = chat(&model, &[], &["/save /nowhere/a.json"])?;
    ensure!(run.status == 1 && run.stderr.contains("/nowhere/a.json"));
    Ok(())
}

/// Nothing to answer ends a script in one line, be it the first turn or a later one.
fn nothing() -> Result<()> {
    let template = format!("{{% if messages[-1].content != 'mum' %}}{TEMPLATE}{{% endif %}}");
    let model = ChatModel::without_template()?.with("chat_template.jinja", &template)?;
    for lines in [&["mum", "Who is it?"][..], &["Who is it?", "mum"]] {
        let run = chat(&model, &[], lines)?;
        let last = run.stderr.lines().last().context("no line")?;
        let words = "ztt-wgpu: the chat template writes nothing: there is nothing to generate from";
        ensure!(
            run.status == 1 && last.starts_with(words),
            "{}: {last}",
            run.status
        );
        same("answered", &[!run.stdout.is_empty()], &[lines[1] == "mum"])?;
    }
    Ok(())
}
