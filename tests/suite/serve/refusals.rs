//! Requests that are refused, and the messages.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::server::{CHAT, COMPLETIONS, HOST, Server, agent, parts};
use crate::chat::model::ChatModel;
use crate::compare::same;
use crate::errors::fails;
use crate::fixtures::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("serve::refusals::fields_are_named", fields),
        trial("serve::refusals::what_the_context_cannot_hold", too_long),
        trial("serve::refusals::bodies_that_are_no_json", not_json),
        trial("serve::refusals::chats_without_a_template", no_template),
        trial("serve::refusals::flags_are_checked", flags),
    ]
}

/// The error must contain `words`.
fn says(error: &Value, words: &str) -> Result<()> {
    let message = error["message"].as_str().context("message")?;
    ensure!(message.contains(words), "no `{words}` in {message}");
    ensure!(error["type"] == "invalid_request_error", "{error}");
    Ok(())
}

fn question(text: &str) -> Value {
    json!([{"role": "user", "content": text}])
}

fn fields() -> Result<()> {
    let model = ChatModel::new()?;
    let server = Server::start(&model.name(), &["--ctx", "64", "--queue", "8"])?;
    let refused = |path, body: Value, param: &str, words: &str| -> Result<()> {
        let status = if param == "model" { 404 } else { 400 };
        let error = server.refuses(path, &body, status)?;
        ensure!(error["param"] == param, "{body}: {error}");
        says(&error, words)
    };
    for (field, value, words) in [
        ("sed", json!(1), "`sed`"),
        ("suffix", json!("b"), "not implemented"),
        ("top_p", json!(2), "0 to 1, found 2"),
        ("model", json!("x"), "no model is called `x`"),
        ("prompt", json!([1, 2048]), "0 to 2047, found 2048"),
        (
            "max_tokens",
            json!(65),
            "at most 64 after a prompt of 1, found 65",
        ),
        ("n", json!(7), "at most 6, half of"),
    ] {
        let mut body = json!({"prompt": "a"});
        body[field] = value;
        refused(COMPLETIONS, body, field, words)?;
    }
    let tools = json!({"messages": question("Hello"), "tools": [{}]});
    refused(CHAT, tools, "tools", "not implemented")?;
    refused(CHAT, json!({"messages": []}), "messages", "at least one")
}

fn too_long() -> Result<()> {
    let model = ChatModel::new()?;
    let server = Server::start(&model.name(), &["--ctx", "64"])?;
    let long = "word ".repeat(80);
    for (path, body) in [
        (COMPLETIONS, json!({"prompt": long})),
        (CHAT, json!({"messages": question(&long)})),
    ] {
        let error = server.refuses(path, &body, 400)?;
        ensure!(error["code"] == "context_length_exceeded", "{error}");
        says(&error, "at most 64 tokens, found ")?;
    }
    Ok(())
}

fn not_json() -> Result<()> {
    let server = Server::start("builtin", &[])?;
    let url = format!("{}{COMPLETIONS}", server.url);
    let (status, error) = parts(agent().post(&url).send(r#"{"prompt": "a"}"#)?)?;
    same("without a type", &[status], &[415])?;
    says(&error["error"], "Content-Type: application/json")?;
    for (body, words) in [("{", "valid JSON"), ("[]", "a JSON object")] {
        let request = agent().post(&url).content_type("application/json");
        let (status, error) = parts(request.send(body)?)?;
        same(body, &[status], &[400])?;
        says(&error["error"], words)?;
    }
    Ok(())
}

fn no_template() -> Result<()> {
    let body = json!({"messages": question("Hello")});
    let plain = Server::start("builtin", &[])?;
    let error = plain.refuses(CHAT, &body, 400)?;
    says(&error, "has no chat template: expected chat_template.jinja")?;
    let refusing = "{{ raise_exception('Not now!') }}";
    let refusing = ChatModel::without_template()?.with("chat_template.jinja", refusing)?;
    let server = Server::start(&refusing.name(), &[])?;
    says(&server.refuses(CHAT, &body, 400)?, "Not now!")
}

fn flags() -> Result<()> {
    let wrong =
        |flags: &[&str], words: &[&str]| fails(&[&["serve"], &HOST[..], flags].concat(), 2, words);
    wrong(&["--host", "0.0.0.0"], &["0.0.0.0", "--api-key"])?;
    wrong(&["--host", "::", "--api-key", ""], &["--api-key"])?;
    wrong(&["--host", "nowhere"], &["nowhere", "IP address"])?;
    wrong(&["--parallel", "0"], &["--parallel", "1 to 128"])?;
    wrong(&["--timeout", "0"], &["--timeout"])?;
    let plain = crate::fixtures::path("golden/llama-plain")
        .display()
        .to_string();
    let arguments = [&["serve", &plain], &HOST[..]].concat();
    fails(&arguments, 1, &["no tokenizer.json"])?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port().to_string();
    let arguments = [&["serve", "--port", &port], &HOST[..]].concat();
    fails(&arguments, 1, &["cannot listen", &port])
}
