//! Variables of the chat templates of looped models, by the flag and by requests.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use ztt_wgpu::model::chat_template::{ChatTemplate, Variables};

use super::chats::{QUESTION, chat, n_tokens_with};
use super::{Edited, NANBEIGE, OURO, fixture, folder};
use crate::compare::same;
use crate::errors::fails;
use crate::fixtures::{path, trial};
use crate::serve::server::{CHAT, HOST, Server};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("looped::chat::templates_write_what_jinja2_does", templates),
        trial("looped::chat::thoughts_change_the_answer", thoughts),
        trial(
            "looped::chat::variables_are_those_of_all_turns",
            thoughts_of_all_turns,
        ),
        trial("looped::chat::variables_are_refused_by_name", refused_flags),
        trial("looped::serve::variables_of_requests", requests),
        trial(
            "looped::serve::variables_are_plain_where_messages_are",
            plain,
        ),
    ]
}

/// A model's template with these variables. Tools, which nothing gives to a template, are set in the
/// template itself.
fn with_variables(model: &str, variables: &Value) -> Result<ChatTemplate> {
    let file = path("looped").join(format!("templates/{model}.jinja"));
    let mut source = std::fs::read_to_string(file)?;
    let mut given = variables.as_object().context("variables")?.clone();
    if let Some(tools) = given.remove("tools") {
        source = format!("{{%- set tools = {tools} %}}\n{source}");
    }
    let template = ChatTemplate::parse(model, source, BTreeMap::new())?;
    let given = Variables::parse(&json!(given).to_string())?;
    Ok(template.with_variables(&given)?)
}

fn templates() -> Result<()> {
    let chats = fixture("chats.json")?;
    let cases = chats["cases"].as_array().context("cases")?;
    ensure!(cases.len() == 44, "{} cases", cases.len());
    for case in cases {
        let model = case["model"].as_str().context("model")?;
        let variables = &case["variables"];
        let what = format!("{model}, {}, {variables}", case["what"]);
        let template = with_variables(model, variables)?;
        let messages = case["messages"].as_array().context("messages")?;
        let text = template.render(messages, true);
        let text = text.with_context(|| what.clone())?;
        same(&what, &[&json!(text)], &[&case["text"]])?;
    }
    Ok(())
}

/// Templates that are told not to think begin the answer otherwise.
fn thoughts() -> Result<()> {
    let flags = [&HOST[..], &["-n", "10"]].concat();
    for model in [OURO, NANBEIGE] {
        let answer = |thinking: Value| -> Result<String> {
            let variables = json!({ "enable_thinking": thinking }).to_string();
            let given = ["--chat-template-kwargs", &variables];
            Ok(chat(&folder(model), &[&flags[..], &given].concat(), &[QUESTION])?.stdout)
        };
        let expected = chat(&folder(model), &flags, &[QUESTION])?.stdout;
        same(
            model,
            &[answer(json!(true))?],
            std::slice::from_ref(&expected),
        )?;
        ensure!(answer(json!(false))? != expected, "{model}: {expected}");
    }
    Ok(())
}

/// Two turns, of which the second reads what the first one left in the cache.
fn thoughts_of_all_turns() -> Result<()> {
    let flags = [&HOST[..], &["-n", "6", "--chat-template-kwargs"]].concat();
    let flags = [&flags[..], &[r#"{"enable_thinking": false}"#]].concat();
    let lines = [QUESTION, "And another?", "/stats"];
    for model in [OURO, NANBEIGE] {
        let run = chat(&folder(model), &flags, &lines)?;
        let answers: Vec<&str> = run.stdout.lines().collect();
        let first = chat(&folder(model), &flags, &lines[..1])?.stdout;
        ensure!(run.stdout.starts_with(&first), "{model}: {answers:?}");
        let first = first.strip_suffix('\n').context("no line")?;
        let messages = json!([{"role": "user", "content": QUESTION},
                              {"role": "assistant", "content": first},
                              {"role": "user", "content": lines[1]}]);
        let messages = messages.as_array().context("messages")?;
        let n = n_tokens_with(model, messages, r#"{"enable_thinking": false}"#)?;
        let of = format!("of the {n} tokens before the answer");
        ensure!(run.stderr.contains(&of), "{model}: {of}: {}", run.stderr);
    }
    Ok(())
}

/// What is no object of variables of the template's own.
fn refused_flags() -> Result<()> {
    const FLAG: &str = "--chat-template-kwargs";
    for (text, words) in [
        ("{", ["valid JSON", "EOF"]),
        ("[1]", ["a JSON object", "an array"]),
        (r#"{"tools": []}"#, ["`tools`", "set for every template"]),
        (
            r#"{"bos_token": ""}"#,
            ["`bos_token`", "set for every template"],
        ),
    ] {
        for name in ["chat", "serve"] {
            let arguments = [name, &folder(OURO), FLAG, text];
            fails(&arguments, 2, &[&[FLAG][..], &words].concat())?;
        }
    }
    let other = r#"{"enable_thoughts": false}"#;
    for name in ["chat", "serve"] {
        let arguments = [name, &folder(OURO), FLAG, other, "--adapter", "cpu"];
        fails(&arguments, 1, &[FLAG, "`enable_thoughts`", "does not read"])?;
    }
    Ok(())
}

/// Variables of a request come before those of the server, one by one.
fn requests() -> Result<()> {
    const FIELD: &str = "chat_template_kwargs";
    const FLAG: &str = "--chat-template-kwargs";
    let messages = [json!({"role": "user", "content": QUESTION})];
    for model in [OURO, NANBEIGE] {
        let n = |variables: &str| n_tokens_with(model, &messages, variables);
        let (off, on) = (
            r#"{"enable_thinking": false}"#,
            r#"{"enable_thinking": true}"#,
        );
        ensure!(n(off)? != n(on)?, "{model}: as long");
        for (flag, default) in [(None, on), (Some(off), off)] {
            let flags = flag.map_or(vec![], |flag| vec![FLAG, flag]);
            let server = Server::start(&folder(model), &flags)?;
            for (given, expected) in [
                (json!(null), default),
                (json!({}), default),
                (serde_json::from_str(off)?, off),
                (serde_json::from_str(on)?, on),
            ] {
                let body = json!({"messages": messages, "max_tokens": 1, FIELD: given});
                let found = server.ok(CHAT, &body)?["usage"]["prompt_tokens"].clone();
                let what = format!("{model}, {flag:?}, {given}");
                same(&what, &[found], &[json!(n(expected)?)])?;
            }
            let refuses = |given: Value, param: &str| -> Result<()> {
                let body = json!({"messages": messages, "max_tokens": 1, FIELD: given});
                let error = server.refuses(CHAT, &body, 400)?;
                ensure!(error["param"] == param, "{error}");
                Ok(())
            };
            refuses(json!("a"), FIELD)?;
            refuses(json!({"tools": []}), "chat_template_kwargs.tools")?;
            refuses(json!({"eos_token": "a"}), "chat_template_kwargs.eos_token")?;
            refuses(json!({"enable": 1}), "chat_template_kwargs.enable")?;
        }
    }
    Ok(())
}

/// Where messages are text alone, so are the variables of a request.
fn plain() -> Result<()> {
    let template = "{% for m in messages %}{{ m.content }}{% endfor %}{{ hint }}";
    let copy = Edited::of(OURO)?.with("chat_template.jinja", template)?;
    let ask = |flags: &[&str], hint: &str, status: u16| -> Result<Value> {
        let server = Server::start(&copy.name(), flags)?;
        let messages = [json!({"role": "user", "content": QUESTION})];
        let hint = json!({ "hint": hint });
        let body = json!({"messages": messages, "max_tokens": 1, "chat_template_kwargs": hint});
        match status {
            200 => server.ok(CHAT, &body),
            _ => server.refuses(CHAT, &body, status),
        }
    };
    ask(&[], "<|im_end|>", 200)?;
    ask(&["--plain-content"], "Be brief.", 200)?;
    let error = ask(&["--plain-content"], "<|im_end|>", 400)?;
    ensure!(error["param"] == "chat_template_kwargs.hint", "{error}");
    Ok(())
}
