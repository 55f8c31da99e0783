//! Requests that say how deep their texts run: each gets what it would get alone.

use std::thread;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::server::{CHAT, COMPLETIONS, DEVICE, HOST, Server};
use crate::adapter;
use crate::compare::same;
use crate::fixtures::trial;
use crate::program::succeed;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("serve::depth::together_as_alone", || together(&HOST)),
        adapter::trial("serve::depth::together_as_alone_on_the_adapter", |_| {
            together(&DEVICE)
        }),
        trial("serve::depth::in_turn_as_alone", || in_turn(&HOST)),
        adapter::trial("serve::depth::in_turn_as_alone_on_the_adapter", |_| {
            in_turn(&DEVICE)
        }),
        trial("serve::depth::refusals", refusals),
    ]
}

/// The field of a request, and the flags of `run` that ask for the same.
fn settings() -> Vec<(Value, Vec<&'static str>)> {
    vec![
        (json!(null), vec![]),
        (json!({"cycles": 1}), vec!["--cycles", "1"]),
        (json!({"cycles": 2}), vec!["--cycles", "2"]),
        (json!({"exit_prompt": false}), vec!["--exit-prompt", "no"]),
        (json!({"exit_threshold": 1.5}), vec!["--no-exit"]),
        (
            json!({"exit_threshold": 0.25}),
            vec!["--exit-threshold", "0.25"],
        ),
        (
            json!({"exit_threshold": 0.25, "min_cycles": 2}),
            vec!["--exit-threshold", "0.25", "--min-cycles", "2"],
        ),
        (
            json!({"exit_threshold": 0.25, "exit_prompt": false}),
            vec!["--exit-threshold", "0.25", "--exit-prompt", "no"],
        ),
    ]
}

const PROMPT: &str = "In the beginning God created";
const N_TOKENS: usize = 16;

fn body(ztt: &Value) -> Value {
    json!({"prompt": PROMPT, "max_tokens": N_TOKENS, "temperature": 0.7, "seed": 5, "ztt": ztt})
}

/// The texts that `run` gives for every setting.
fn alone(adapter: &[&str]) -> Result<Vec<String>> {
    let texts = settings().into_iter().map(|(_, flags)| {
        let n = N_TOKENS.to_string();
        let mut args = vec!["run", "builtin", PROMPT, "-n", &n, "--seed", "5"];
        args.extend(["--temperature", "0.7"]);
        args.extend(adapter.iter().chain(&flags));
        let text = succeed(&args)?;
        Ok(text.strip_suffix('\n').context("line")?.to_string())
    });
    let texts = texts.collect::<Result<Vec<_>>>()?;
    // The control: settings have texts of their own.
    let mut different = texts.clone();
    different.sort();
    different.dedup();
    ensure!(different.len() > 3, "{different:?}");
    Ok(texts)
}

fn together(adapter: &[&str]) -> Result<()> {
    let alone = alone(adapter)?;
    let flags = ["--parallel", "8", "--ahead", "3"];
    let server = Server::start_on(adapter, "builtin", &flags, &[])?;
    let found: Vec<Result<Value>> = thread::scope(|scope| {
        let bodies: Vec<Value> = settings().iter().map(|(ztt, _)| body(ztt)).collect();
        let started = bodies.into_iter().map(|body| {
            scope.spawn({
                let server = &server;
                move || server.ok(COMPLETIONS, &body)
            })
        });
        let started: Vec<_> = started.collect();
        let joined = started.into_iter().map(|t| t.join().expect("a thread"));
        joined.collect()
    });
    for (((ztt, _), found), alone) in settings().iter().zip(found).zip(&alone) {
        let found = found?;
        let text = &found["choices"][0]["text"];
        same(&format!("{ztt}"), &[text], &[&json!(alone)])?;
        let exits = &found["usage"]["ztt"]["exits"];
        let most = ztt["cycles"].as_u64().unwrap_or(3);
        let least = ztt["min_cycles"].as_u64().unwrap_or(1);
        let counts = exits.as_array().context("exits")?;
        ensure!(counts.len() as u64 <= most, "{ztt}: {exits}");
        let mut early = counts.iter().take(least as usize - 1);
        ensure!(early.all(|count| count == &json!(0)), "{ztt}: {exits}");
    }
    Ok(())
}

/// One request after the other, each with the prompt of the one before it and another rule.
fn in_turn(adapter: &[&str]) -> Result<()> {
    let alone = alone(adapter)?;
    let settings = settings();
    let server = Server::start_on(adapter, "builtin", &["--parallel", "1"], &[])?;
    let ask = |i: usize| -> Result<u64> {
        let (ztt, _) = &settings[i];
        let response = server.ok(COMPLETIONS, &body(ztt))?;
        let text = &response["choices"][0]["text"];
        same(&format!("{ztt}"), &[text], &[&json!(alone[i])])?;
        let cached = &response["usage"]["prompt_tokens_details"]["cached_tokens"];
        cached.as_u64().context("cached tokens")
    };
    let mut n_reused = 0;
    for first in 0..settings.len() {
        for second in 0..settings.len() {
            ask(first)?;
            let cached = ask(second)?;
            n_reused += u64::from(cached > 0);
            if first == second {
                ensure!(cached > 0, "{}: nothing is reused", settings[first].0);
            }
        }
    }
    // Rules that differ share a prompt only where it ran to full depth by both.
    ensure!(n_reused < 20, "{n_reused} of {}", settings.len().pow(2));
    Ok(())
}

fn refusals() -> Result<()> {
    let server = Server::start("builtin", &[])?;
    for (ztt, words) in [
        (json!({"cycles": 4}), ["ztt.cycles", "1 to 3"]),
        (json!({"cycles": 0}), ["ztt.cycles", "at least 1"]),
        (
            json!({"exit_threshold": "high"}),
            ["ztt.exit_threshold", "number"],
        ),
        (json!({"depth": 2}), ["depth", "expected"]),
        (json!([1]), ["ztt", "an object"]),
    ] {
        let chat = json!({"messages": [{"role": "user", "content": "a"}], "ztt": ztt});
        for (path, body) in [(COMPLETIONS, body(&ztt)), (CHAT, chat)] {
            let error = server.refuses(path, &body, 400)?;
            let message = error["message"].as_str().context("message")?;
            let is_said = words.iter().all(|word| message.contains(word));
            ensure!(is_said, "{ztt}: {message}");
        }
    }
    Ok(())
}
