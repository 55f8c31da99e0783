//! Chats with looped models: their templates, `chat` and `serve`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use ztt_wgpu::model::chat_template::{ChatTemplate, Variables};
use ztt_wgpu::model::{Fetch, Model};

use super::{Edited, NANBEIGE, OURO, fixture, folder, n_cycles};
use crate::adapter;
use crate::compare::same;
use crate::errors::fails;
use crate::fixtures::{path, trial};
use crate::program::{Run, command, output};
use crate::serve::server::{CHAT, DEVICE, HOST, Server};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("looped::chat::templates_write_what_jinja2_does", templates),
        trial("looped::chat::turns", || turns(&HOST)),
        adapter::trial("looped::chat::turns_on_the_adapter", |_| turns(&DEVICE)),
        trial("looped::chat::a_turn_ends_as_the_template_ends_it", end),
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
        trial("looped::serve::usage", || usage(&HOST)),
        adapter::trial("looped::serve::usage_on_the_adapter", |_| usage(&DEVICE)),
        trial("looped::serve::calls_of_tools", calls),
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

/// A greedy session with `lines` on its standard input.
fn chat(model: &str, flags: &[&str], lines: &[&str]) -> Result<Run> {
    let fixed = ["chat", model, "--temperature", "0"];
    let mut command = command(&[&fixed[..], flags].concat());
    command.write_stdin(lines.join("\n"));
    let run = output(command)?;
    ensure!(run.status == 0, "status {}: {}", run.status, run.stderr);
    Ok(run)
}

const QUESTION: &str = "Name a colour.";

/// Two turns at full depth, the first answered as if it were alone; with exits they run shallower.
fn turns(place: &[&str]) -> Result<()> {
    for model in [OURO, NANBEIGE] {
        let flags = [place, &["-n", "8"]].concat();
        let lines = [QUESTION, "And another?", "/stats"];
        let run = chat(&folder(model), &flags, &lines)?;
        let first = chat(&folder(model), &flags, &lines[..1])?;
        ensure!(!first.stdout.trim().is_empty(), "{model} says nothing");
        ensure!(
            run.stdout.starts_with(&first.stdout) && run.stdout.len() > first.stdout.len(),
            "{model}: {:?} and {:?}",
            first.stdout,
            run.stdout
        );
        let mean = format!("mean {}.00", n_cycles(model));
        ensure!(run.stderr.contains(&mean), "{model}: {}", run.stderr);
    }
    let exits = [place, &["-n", "8", "--exit-threshold", "0.6"]].concat();
    let run = chat(&folder(OURO), &exits, &[QUESTION, "And another?", "/stats"])?;
    ensure!(run.stderr.contains("cycles   mean"), "{}", run.stderr);
    ensure!(!run.stderr.contains("mean 4.00"), "{}", run.stderr);
    Ok(())
}

/// The config and the generation config of published models disagree on the token that ends a text;
/// the one that the template ends a turn with ends a chat's turn, whatever they say.
fn end() -> Result<()> {
    let flags = [&HOST[..], &["-n", "40"]].concat();
    let ends = chat(&folder(OURO), &flags, &[QUESTION])?;
    ensure!(!ends.stderr.contains("was cut"), "{}", ends.stderr);
    let on = [&flags[..], &["--ignore-eos"]].concat();
    let on = chat(&folder(OURO), &on, &[QUESTION])?.stdout;
    let answer = ends.stdout.trim_end();
    ensure!(on.len() > answer.len() && on.starts_with(answer), "{on:?}");
    let other = Edited::of(OURO)?.set("generation_config.json", "eos_token_id", json!(0))?;
    let found = chat(&other.name(), &flags, &[QUESTION])?;
    same("answer", &[found.stdout], &[ends.stdout])
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

/// The length of a conversation as the model's template writes it.
fn n_tokens(model: &str, messages: &[Value]) -> Result<usize> {
    n_tokens_with(model, messages, "{}")
}

/// That with variables, an object in JSON.
fn n_tokens_with(model: &str, messages: &[Value], variables: &str) -> Result<usize> {
    let model = Model::open(&folder(model), Fetch::Never)?;
    let template = model.chat_template()?;
    let template = template.with_variables(&Variables::parse(variables)?)?;
    let text = template.render(messages, true)?;
    Ok(model.tokenizer()?.encode_verbatim(&text)?.len())
}

/// Counts of tokens, and of positions by the steps that they ran.
fn usage(place: &[&str]) -> Result<()> {
    let messages = [json!({"role": "user", "content": QUESTION})];
    for model in [OURO, NANBEIGE] {
        let server = Server::start_on(place, &folder(model), &["--temperature", "0"], &[])?;
        let ask = |ztt: Value| -> Result<Value> {
            let body = json!({"messages": messages, "max_tokens": 8, "ztt": ztt});
            Ok(server.ok(CHAT, &body)?["usage"].clone())
        };
        let n = n_cycles(model);
        let full = ask(json!(null))?;
        let n_prompt = json!(n_tokens(model, &messages)?);
        same(model, &[&full["prompt_tokens"]], &[&n_prompt])?;
        same(model, &[&full["completion_tokens"]], &[&json!(8)])?;
        same(model, &[&full["ztt"]["mean_cycles"]], &[&json!(n as f64)])?;
        let exits = full["ztt"]["exits"].as_array().context("exits")?;
        ensure!(exits.len() == n, "{full}");
        ensure!(exits[..n - 1].iter().all(|n| *n == json!(0)), "{full}");
        let shallow = ask(json!({"cycles": 1}))?;
        same(model, &[&shallow["ztt"]["mean_cycles"]], &[&json!(1.0)])?;
        if model == NANBEIGE {
            let body = json!({"messages": messages, "ztt": {"exit_threshold": 0.5}});
            let error = server.refuses(CHAT, &body, 400)?;
            ensure!(error["param"] == "ztt.exit_threshold", "{error}");
        }
        if model == OURO {
            let exiting = ask(json!({"exit_threshold": 0.6, "exit_prompt": true}))?;
            let mean = exiting["ztt"]["mean_cycles"].as_f64().context("mean")?;
            ensure!(mean > 1.0 && mean < n as f64, "{exiting}");
        }
    }
    Ok(())
}

/// Calls of tools, their results, and thoughts beside an answer are in the prompt; tools that may be
/// called are refused, as templates get none.
fn calls() -> Result<()> {
    let chats = fixture("chats.json")?;
    let cases = chats["cases"].as_array().context("cases")?;
    let mut found = cases.iter().filter(|case| {
        case["what"] == "two calls after thoughts" && case["variables"] == json!({})
    });
    let case = found.next().context("no such conversation")?;
    let mut messages = case["messages"].as_array().context("messages")?.clone();
    let expected = n_tokens(NANBEIGE, &messages)?;
    for message in &mut messages {
        let calls = message.get_mut("tool_calls").and_then(Value::as_array_mut);
        for call in calls.into_iter().flatten() {
            let function = &mut call["function"];
            function["arguments"] = function["arguments"].to_string().into();
            call["id"] = "call_1".into();
        }
        if message["role"] == "tool" {
            message["tool_call_id"] = "call_1".into();
        }
    }
    let server = Server::start(&folder(NANBEIGE), &["--temperature", "0"])?;
    let mut body = json!({"messages": messages, "max_tokens": 2});
    let response = server.ok(CHAT, &body)?;
    let n_prompt = &response["usage"]["prompt_tokens"];
    same("prompt", &[n_prompt], &[&json!(expected)])?;
    body["tools"] = json!([{"type": "function", "function": {"name": "weather"}}]);
    let error = server.refuses(CHAT, &body, 400)?;
    ensure!(error["param"] == "tools", "{error}");
    Ok(())
}
