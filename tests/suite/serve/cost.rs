//! The cost of a request is bounded: memory, room for bodies, stop texts.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::server::{CHAT, COMPLETIONS, Server, agent, parts};
use crate::chat::model::ChatModel;
use crate::compare::same;
use crate::fixtures::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("serve::cost::large_bodies_take_little_memory", memory),
        trial("serve::cost::a_large_body_is_refused_by_its_header", header),
        trial("serve::cost::small_requests_pass_large_bodies", pass),
        trial("serve::cost::stop_texts_are_bounded", stops),
        trial("serve::cost::a_request_has_half_of_the_places", half),
        trial("serve::cost::numbers_are_bounded", numbers),
        trial("serve::cost::the_last_token_needs_no_room", last_token),
    ]
}

/// Bytes of the largest bodies, a little less than the bound.
const LARGE: usize = (4 << 20) - 1000;

/// Memory that six of them may take, in KiB.
const MOST: u64 = 300 * 1024;

/// A body of `start`, as many of `item` as there is room for, and `end`.
fn filled(start: &str, item: &str, end: &str) -> String {
    let n = (LARGE - start.len() - end.len()) / item.len();
    let mut items = item.repeat(n);
    if items.ends_with(',') {
        items.pop();
    }
    format!("{start}{items}{end}")
}

fn memory() -> Result<()> {
    if cfg!(not(target_os = "linux")) {
        return Ok(());
    }
    let message = r#"{"messages":[{"role":"user","content":""#;
    let bodies = [
        (COMPLETIONS, filled(r#"{"prompt":""#, "word ", r#""}"#)),
        (COMPLETIONS, filled(r#"{"prompt":""#, "a", r#""}"#)),
        (COMPLETIONS, filled(r#"{"prompt":["#, "0,", "]}")),
        (COMPLETIONS, filled(r#"{"prompt":["#, "[0],", "]}")),
        (COMPLETIONS, filled(r#"{"prompt":["#, r#""","#, "]}")),
        (COMPLETIONS, filled(r#"{"stop":["#, r#""a","#, "]}")),
        (COMPLETIONS, filled(r#"{"x":["#, "[[[]]],", "]}")),
        (COMPLETIONS, filled(r#"{"x":["#, r#"{"a":{}},"#, "]}")),
        (COMPLETIONS, filled(r#"{"logit_bias":{"#, r#""a":0,"#, "}}")),
        (COMPLETIONS, filled("{", r#""a":0,"#, "}")),
        (COMPLETIONS, filled(r#"{"x":["#, "NaN,", "]}")),
        (COMPLETIONS, filled("", "[", "")),
        (CHAT, filled(message, "word ", r#""}]}"#)),
        (
            CHAT,
            filled(
                r#"{"messages":["#,
                r#"{"role":"user","content":"a"},"#,
                "]}",
            ),
        ),
        (CHAT, filled(r#"{"messages":["#, "0,", "]}")),
        (
            CHAT,
            filled(
                r#"{"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f",
                   "arguments":"["#,
                "0,",
                r#"0]"}}]}]}"#,
            ),
        ),
    ];
    let model = ChatModel::new()?;
    let server = Server::start(&model.name(), &[])?;
    server.ok(COMPLETIONS, &json!({"prompt": "a", "max_tokens": 1}))?;
    let idle = server.peak_memory()?;
    for (path, body) in &bodies {
        let url = format!("{}{path}", server.url);
        let ask = || -> Result<()> {
            let request = agent().post(&url).content_type("application/json");
            let (status, error) = parts(request.send(body.as_str())?)?;
            ensure!(status == 400, "{}: {status}: {error}", &body[..40]);
            Ok(())
        };
        thread::scope(|scope| {
            let asking: Vec<_> = (0..6).map(|_| scope.spawn(ask)).collect();
            let mut asked = asking.into_iter().map(|t| t.join().expect("a thread"));
            asked.try_for_each(|asked| asked)
        })?;
        let grown = server.peak_memory()?.saturating_sub(idle);
        ensure!(grown < MOST, "{}: {grown} KiB", &body[..40]);
    }
    // A field that changes nothing may be long.
    let body = filled(r#"{"prompt":"a","max_tokens":1,"metadata":["#, "0,", "]}");
    let url = format!("{}{COMPLETIONS}", server.url);
    let request = agent().post(&url).content_type("application/json");
    same("metadata", &[parts(request.send(body)?)?.0], &[200])
}

/// The first line that the server sends for a request with this head and no body.
fn first_line(server: &Server, head: &str) -> Result<String> {
    let mut connection = connect(server)?;
    connection.write_all(head.as_bytes())?;
    let mut found = Vec::new();
    let mut byte = [0];
    while !found.ends_with(b"\r\n") && connection.read(&mut byte)? > 0 {
        found.push(byte[0]);
    }
    Ok(String::from_utf8(found)?)
}

fn connect(server: &Server) -> Result<TcpStream> {
    let address = server.url.strip_prefix("http://").context("address")?;
    let connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(Duration::from_secs(60)))?;
    Ok(connection)
}

fn head(server: &Server, n_bytes: usize, more: &str) -> String {
    let host = server.url.trim_start_matches("http://");
    format!(
        "POST {COMPLETIONS} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
         Content-Length: {n_bytes}\r\n{more}\r\n"
    )
}

fn header() -> Result<()> {
    let server = Server::start("builtin", &["--max-body", "1000", "--timeout", "30"])?;
    for more in ["", "Expect: 100-continue\r\n"] {
        let line = first_line(&server, &head(&server, 1001, more))?;
        ensure!(line.starts_with("HTTP/1.1 413 "), "{more}: {line}");
    }
    // The control: a body that fits is asked for.
    let line = first_line(&server, &head(&server, 1000, "Expect: 100-continue\r\n"))?;
    ensure!(line.starts_with("HTTP/1.1 100 "), "{line}");
    Ok(())
}

/// Large bodies that stop coming keep nobody with a small one waiting, and end by the clock.
fn pass() -> Result<()> {
    let server = Server::start("builtin", &["--timeout", "3"])?;
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut connection = connect(&server)?;
        connection.write_all(head(&server, LARGE, "").as_bytes())?;
        connection.write_all(&[b' '; 100_000])?;
        slow.push(connection);
    }
    server.ok(COMPLETIONS, &json!({"prompt": "a", "max_tokens": 1}))?;
    for mut connection in slow {
        let mut response = [0; 12];
        connection.read_exact(&mut response)?;
        same("a slow one", &[&response[..]], &[&b"HTTP/1.1 504"[..]])?;
    }
    // There is room again.
    let body = filled(r#"{"prompt":"a","max_tokens":1,"metadata":["#, "0,", "]}");
    let url = format!("{}{COMPLETIONS}", server.url);
    let request = agent().post(&url).content_type("application/json");
    same("after that", &[parts(request.send(body)?)?.0], &[200])
}

fn stops() -> Result<()> {
    let server = Server::start("builtin", &[])?;
    let mut body = json!({"prompt": "ROMEO:", "max_tokens": 2});
    body["stop"] = json!(["a", "b".repeat(1025)]);
    let error = server.refuses(COMPLETIONS, &body, 400)?;
    ensure!(error["param"] == "stop", "{error}");
    ensure!(
        error["message"]
            .as_str()
            .is_some_and(|m| m.contains("at most 1024 bytes")),
        "{error}"
    );
    body["stop"] = json!(["a".repeat(1024)]);
    server.ok(COMPLETIONS, &body).map(drop)
}

fn half() -> Result<()> {
    let server = Server::start("builtin", &["--parallel", "2", "--queue", "10"])?;
    let ask = |n: usize, prompt: Value| json!({"prompt": prompt, "n": n, "max_tokens": 1});
    for (n, prompt, param) in [
        (7, json!("a"), "n"),
        (4, json!(["a", "b"]), "n"),
        (1, json!(vec!["a"; 7]), "prompt"),
    ] {
        let error = server.refuses(COMPLETIONS, &ask(n, prompt), 400)?;
        ensure!(error["param"] == param, "{error}");
        let message = error["message"].as_str().context("message")?;
        ensure!(message.contains("at most 6"), "{message}");
    }
    let response = server.ok(COMPLETIONS, &ask(3, json!(["a", "b"])))?;
    same(
        "choices",
        &[response["choices"].as_array().map(Vec::len)],
        &[Some(6)],
    )
}

fn numbers() -> Result<()> {
    let server = Server::start("builtin", &[])?;
    let url = format!("{}{COMPLETIONS}", server.url);
    let fields = [
        "max_tokens",
        "n",
        "seed",
        "logprobs",
        "top_k",
        "top_p",
        "min_p",
        "temperature",
        "repeat_penalty",
    ];
    let values = [
        "-1",
        "0",
        "1.5",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775808",
        "1e30",
        "-1e30",
        "1e400",
        "1e-300",
        "-0.0",
        "4294967296",
        "NaN",
        "Infinity",
        "\"1\"",
        "[1]",
        "{\"a\":1}",
        "true",
    ];
    for field in fields {
        for value in values {
            let max_tokens = if field == "max_tokens" {
                ""
            } else {
                r#""max_tokens":2,"#
            };
            let body = format!(r#"{{"prompt":"a",{max_tokens}"{field}":{value}}}"#);
            let request = agent().post(&url).content_type("application/json");
            let (status, found) = parts(request.send(&body)?)?;
            let is_error = status == 400 && found["error"]["message"].is_string();
            ensure!(status == 200 || is_error, "{body}: {status}: {found}");
            if is_error && value != "1e400" {
                same(&body, &[&found["error"]["param"]], &[&json!(field)])?;
            }
        }
    }
    server
        .ok(COMPLETIONS, &json!({"prompt": "a", "max_tokens": 1}))
        .map(drop)
}

/// A text may have one token more than the context has room for.
fn last_token() -> Result<()> {
    let server = Server::start("builtin", &["--ctx", "16"])?;
    let mut body = json!({"prompt": vec![5; 10], "temperature": 0});
    for (max_tokens, expected) in [
        (json!(7), Some(7)),
        (json!(6), Some(6)),
        (json!(null), None),
    ] {
        body["max_tokens"] = max_tokens;
        let response = server.ok(COMPLETIONS, &body)?;
        let n = &response["usage"]["completion_tokens"];
        let reason = &response["choices"][0]["finish_reason"];
        ensure!(reason == "length", "{response}");
        same("tokens", &[n], &[&json!(expected.unwrap_or(7))])?;
    }
    body["max_tokens"] = 8.into();
    let error = server.refuses(COMPLETIONS, &body, 400)?;
    ensure!(error["code"] == "context_length_exceeded", "{error}");
    body["prompt"] = json!(vec![5; 16]);
    body["max_tokens"] = 1.into();
    let response = server.ok(COMPLETIONS, &body)?;
    same(
        "a full context",
        &[&response["usage"]["completion_tokens"]],
        &[&json!(1)],
    )
}
