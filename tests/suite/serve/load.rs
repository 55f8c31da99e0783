//! Many requests at a time.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::thread;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::api::{run, run_on};
use super::server::{COMPLETIONS, DEVICE, HOST, Server, parts, texts};
use crate::adapter;
use crate::chat::model::ChatModel;
use crate::compare::same;
use crate::fixtures::{path, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("serve::load::streams_at_a_time_are_those_alone", || {
            streams(&HOST)
        }),
        adapter::trial(
            "serve::load::streams_at_a_time_are_those_alone_on_the_adapter",
            |_| streams(&DEVICE),
        ),
        trial("serve::load::a_full_queue_refuses", full),
        trial("serve::load::who_goes_away_frees_a_sequence", gone),
        trial("serve::load::what_begins_alike_is_run_once", || {
            prefix(&HOST)
        }),
        adapter::trial(
            "serve::load::what_begins_alike_is_run_once_on_the_adapter",
            |_| prefix(&DEVICE),
        ),
    ]
}

/// Requests at a time.
const N_STREAMS: usize = 64;

/// Different ones among them.
const N_PROMPTS: usize = 8;

/// Ends nowhere near.
pub fn endless() -> Value {
    json!({"prompt": "Call me", "max_tokens": 3000, "temperature": 0, "stream": true})
}

fn streams(adapter: &[&str]) -> Result<()> {
    let text = std::fs::read_to_string(path("classics-val.txt"))?;
    let lines = text.lines().filter(|line| line.len() > 30);
    let prompts: Vec<&str> = lines.map(|line| &line[..12]).take(N_PROMPTS).collect();
    let server = Server::start_on(adapter, "builtin", &["--parallel", "8"], &[])?;
    let stream = |prompt: &str| -> Result<String> {
        let body = json!({"prompt": prompt, "max_tokens": 8, "temperature": 0, "stream": true});
        let events = server.stream(COMPLETIONS, &body)?.all()?;
        Ok(texts(&events, 1)?.remove(0))
    };
    let found: Vec<Result<(&str, String)>> = thread::scope(|scope| {
        let prompts = prompts.iter().cycle().take(N_STREAMS);
        let started = prompts.map(|&prompt| scope.spawn(move || Ok((prompt, stream(prompt)?))));
        let started: Vec<_> = started.collect();
        let joined = started.into_iter().map(|t| t.join().expect("a thread"));
        joined.collect()
    });
    let mut alone = BTreeMap::new();
    for prompt in prompts {
        alone.insert(prompt, run_on(adapter, "builtin", prompt, "8")?);
    }
    // The control: the prompts have texts of their own.
    let mut different: Vec<_> = alone.values().collect();
    different.sort();
    different.dedup();
    ensure!(different.len() > N_PROMPTS / 2, "{different:?}");
    same("streams", &[found.len()], &[N_STREAMS])?;
    for found in found {
        let (prompt, text) = found?;
        same(prompt, &[&text], &[&alone[prompt]])?;
    }
    server.wait_for("ztt_sequences_in_use", 0.0)?;
    let name = "ztt_requests_total{route=\"/v1/completions\",status=\"200\"}";
    server.wait_for(name, N_STREAMS as f64)
}

fn full() -> Result<()> {
    let model = ChatModel::endless()?;
    let server = Server::start(&model.name(), &["--parallel", "1", "--queue", "1"])?;
    let mut running = server.stream(COMPLETIONS, &endless())?;
    running.next_data()?.context("nothing comes")?;
    let short = json!({"prompt": "ROMEO:", "max_tokens": 3, "temperature": 0});
    thread::scope(|scope| -> Result<()> {
        let waiting = scope.spawn(|| server.ok(COMPLETIONS, &short));
        server.wait_for("ztt_queue_length", 1.0)?;
        let refused = server.post(COMPLETIONS, &short)?;
        ensure!(refused.headers().contains_key("retry-after"), "{refused:?}");
        let (status, error) = parts(refused)?;
        ensure!(
            status == 429 && error["error"]["code"] == "queue_full",
            "{error}"
        );
        // The waiting request has its turn.
        drop(running);
        let response = waiting.join().expect("a thread")?;
        let expected = run("builtin", "ROMEO:", "3")?;
        same(
            "text",
            &[&response["choices"][0]["text"]],
            &[&json!(expected)],
        )
    })
}

fn gone() -> Result<()> {
    let model = ChatModel::endless()?;
    let server = Server::start(&model.name(), &["--parallel", "1"])?;
    let mut running = server.stream(COMPLETIONS, &endless())?;
    running.next_data()?.context("nothing comes")?;
    // One goes away while it waits, without a stream.
    let address = server.url.strip_prefix("http://").context("address")?;
    let mut connection = TcpStream::connect(address)?;
    let body = r#"{"prompt": "Call me"}"#;
    write!(
        connection,
        "POST {COMPLETIONS} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    server.wait_for("ztt_queue_length", 1.0)?;
    drop(connection);
    let gone = "ztt_requests_total{route=\"/v1/completions\",status=\"499\"}";
    // The figure is not there before the first.
    super::server::wait(|| Ok(server.metric(gone).is_ok_and(|n| n == 1.0)))?;
    same("in use", &[server.metric("ztt_sequences_in_use")?], &[1.0])?;
    // And one in the middle of its text.
    drop(running);
    server.wait_for("ztt_sequences_in_use", 0.0)?;
    let n_generated = server.metric("ztt_generated_tokens_total")?;
    ensure!(n_generated < 3000.0, "it was not ended: {n_generated}");
    same("waiting", &[server.metric("ztt_queue_length")?], &[0.0])
}

fn prefix(adapter: &[&str]) -> Result<()> {
    let flags = ["--temperature", "0", "--parallel", "2"];
    let server = Server::start_on(adapter, "builtin", &flags, &[])?;
    let beginning = "In the beginning God created the heaven and the earth.";
    let ask = |prompt: &str| -> Result<[u64; 2]> {
        let body = json!({"prompt": prompt, "max_tokens": 4});
        let response = server.ok(COMPLETIONS, &body)?;
        let expected = json!(run_on(adapter, "builtin", prompt, "4")?);
        same("text", &[&response["choices"][0]["text"]], &[&expected])?;
        let usage = &response["usage"];
        let cached = &usage["prompt_tokens_details"]["cached_tokens"];
        let counts = [&usage["prompt_tokens"], cached].map(Value::as_u64);
        Ok(counts.map(|count| count.unwrap_or(u64::MAX)))
    };
    let [n_first, cached] = ask(beginning)?;
    same("at first", &[cached], &[0])?;
    same("another", &ask("ROMEO:")?[1..], &[0])?;
    let [n_second, cached] = ask(&format!("{beginning} And the earth"))?;
    ensure!(
        n_second > n_first && cached == n_first,
        "{cached} of {n_second}"
    );
    let name = "ztt_prompt_tokens_cached_total";
    same(name, &[server.metric(name)?], &[n_first as f64])
}
