//! Chats with looped models: `chat` and `serve`.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use ztt_wgpu::model::chat_template::Variables;
use ztt_wgpu::model::{Fetch, Model};

use super::{Edited, NANBEIGE, OURO, fixture, folder, n_cycles};
use crate::adapter;
use crate::compare::same;
use crate::fixtures::trial;
use crate::program::{Run, command, output};
use crate::serve::server::{CHAT, DEVICE, HOST, Server};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("looped::chat::turns", || turns(&HOST)),
        adapter::trial("looped::chat::turns_on_the_adapter", |_| turns(&DEVICE)),
        trial("looped::chat::a_turn_ends_as_the_template_ends_it", end),
        trial("looped::serve::usage", || usage(&HOST)),
        adapter::trial("looped::serve::usage_on_the_adapter", |_| usage(&DEVICE)),
        trial("looped::serve::calls_of_tools", calls),
    ]
}

/// A greedy session with `lines` on its standard input.
pub fn chat(model: &str, flags: &[&str], lines: &[&str]) -> Result<Run> {
    let fixed = ["chat", model, "--temperature", "0"];
    let mut command = command(&[&fixed[..], flags].concat());
    command.write_stdin(lines.join("\n"));
    let run = output(command)?;
    ensure!(run.status == 0, "status {}: {}", run.status, run.stderr);
    Ok(run)
}

pub const QUESTION: &str = "Name a colour.";

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

/// The length of a conversation as the model's template writes it.
fn n_tokens(model: &str, messages: &[Value]) -> Result<usize> {
    n_tokens_with(model, messages, "{}")
}

/// That with variables, an object in JSON.
pub fn n_tokens_with(model: &str, messages: &[Value], variables: &str) -> Result<usize> {
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
