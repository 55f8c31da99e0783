//! Guesses in the program: `run`, `chat` by its session, `serve`, and what is refused.

use std::thread;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::adapter;
use crate::compare::same;
use crate::fixtures::trial;
use crate::program::{json_lines, run, succeed};
use crate::serve::server::{COMPLETIONS, DEVICE, HOST, Server};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("drafts::run::host", || by_run(&HOST)),
        adapter::trial("drafts::run::adapter", |_| by_run(&DEVICE)),
        trial("drafts::serve::host", || by_serve(&HOST)),
        adapter::trial("drafts::serve::adapter", |_| by_serve(&DEVICE)),
        trial("drafts::serve::many", many),
        trial("drafts::bench::host", || by_bench(&HOST)),
        trial("drafts::refusals", refusals),
    ]
}

const PROMPTS: [&str; 3] = [
    "one two three, one two three, one two three, one",
    "In the beginning God created",
    "the man and the man and the man and",
];
const N_TOKENS: usize = 24;

fn arguments<'a>(prompt: &'a str, adapter: &[&'a str], flags: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["run", "builtin", prompt, "-n", "24", "--temperature", "0"];
    arguments.extend(["--seed", "5"]);
    arguments.extend(adapter.iter().chain(flags));
    arguments
}

fn by_run(adapter: &[&str]) -> Result<()> {
    let by_text = ["--draft-ngram", "--draft-tokens", "3", "--no-exit"];
    let by_depth = ["--draft-cycles", "2", "--no-exit"];
    for (i, prompt) in PROMPTS.iter().enumerate() {
        let plain = succeed(&arguments(prompt, adapter, &["--no-exit"]))?;
        let drafts = if i == 1 { &by_depth[..] } else { &by_text[..] };
        let drafted = run(&arguments(prompt, adapter, drafts))?;
        ensure!(drafted.status == 0, "{}", drafted.stderr);
        same(prompt, &[drafted.stdout], &[plain])?;
        let is_said = drafted.stderr.contains("\ndrafts ");
        ensure!(is_said, "{}", drafted.stderr);
    }
    let lines = json_lines(&succeed(&arguments(
        PROMPTS[0],
        adapter,
        &["--draft-ngram", "--json"],
    ))?)?;
    let found = &lines.last().context("a summary")?["summary"]["drafts"];
    let sum = |field: &str| -> Result<u64> {
        let places = found[field].as_array().context("places")?;
        Ok(places.iter().filter_map(Value::as_u64).sum())
    };
    ensure!(sum("drafted")? >= sum("accepted")?, "{found}");
    ensure!(found["tokens_per_pass"].as_f64() >= Some(1.0), "{found}");
    Ok(())
}

fn by_serve(adapter: &[&str]) -> Result<()> {
    let alone = PROMPTS.map(|prompt| succeed(&arguments(prompt, adapter, &[])));
    let flags = ["--parallel", "3", "--draft-ngram", "--draft-tokens", "2"];
    let server = Server::start_on(adapter, "builtin", &flags, &[])?;
    let body = |prompt: &str, ztt: Value| {
        json!({"prompt": prompt, "max_tokens": N_TOKENS, "temperature": 0, "seed": 5,
               "ztt": ztt})
    };
    let found: Vec<Result<Value>> = thread::scope(|scope| {
        let started = PROMPTS.map(|prompt| {
            let server = &server;
            scope.spawn(move || server.ok(COMPLETIONS, &body(prompt, json!({}))))
        });
        let joined = started.into_iter().map(|t| t.join().expect("a thread"));
        joined.collect()
    });
    let mut n_drafted = 0;
    for ((prompt, found), alone) in PROMPTS.iter().zip(found).zip(alone) {
        let (found, alone) = (found?, alone?);
        let text = alone.strip_suffix('\n').context("line")?;
        same(prompt, &[&found["choices"][0]["text"]], &[&json!(text)])?;
        let drafts = &found["usage"]["ztt"]["drafts"];
        let drafted = drafts["drafted"].as_array().context("counts")?;
        n_drafted += drafted.iter().filter_map(Value::as_u64).sum::<u64>();
    }
    ensure!(n_drafted > 0, "nothing was guessed");
    let without = server.ok(COMPLETIONS, &body(PROMPTS[0], json!({"draft_tokens": 0})))?;
    let drafts = &without["usage"]["ztt"]["drafts"];
    ensure!(drafts.is_null(), "{drafts}");
    let counted = server.metric("ztt_drafted_tokens_total")?;
    ensure!(counted == n_drafted as f64, "{counted}, not {n_drafted}");
    Ok(())
}

/// More texts than a pass of few rows has, which end one after the other.
fn many() -> Result<()> {
    let alone = PROMPTS.map(|prompt| succeed(&arguments(prompt, &HOST, &[])));
    let alone: Vec<String> = alone.into_iter().collect::<Result<_>>()?;
    let flags = ["--parallel", "9", "--draft-ngram", "--draft-tokens", "3"];
    let server = Server::start_on(&HOST, "builtin", &flags, &[])?;
    let found: Vec<Result<Value>> = thread::scope(|scope| {
        let started = (0..9).map(|i| {
            let server = &server;
            let body = json!({"prompt": PROMPTS[i % 3], "max_tokens": 6 + 2 * i,
                              "temperature": 0, "seed": 5});
            scope.spawn(move || server.ok(COMPLETIONS, &body))
        });
        let started: Vec<_> = started.collect();
        let joined = started.into_iter().map(|t| t.join().expect("a thread"));
        joined.collect()
    });
    let mut n_drafted = 0;
    for (i, found) in found.into_iter().enumerate() {
        let found = found?;
        let text = found["choices"][0]["text"].as_str().context("a text")?;
        let is_same = alone[i % 3].starts_with(text) && !text.is_empty();
        ensure!(is_same, "{i}: {text:?}, alone {:?}", alone[i % 3]);
        let drafted = &found["usage"]["ztt"]["drafts"]["drafted"];
        let drafted = drafted.as_array().context("counts")?;
        n_drafted += drafted.iter().filter_map(Value::as_u64).sum::<u64>();
    }
    ensure!(n_drafted > 0, "nothing was guessed");
    Ok(())
}

/// The gain on a text, greedy and sampled.
fn by_bench(adapter: &[&str]) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("text.txt");
    std::fs::write(&file, "one two three, ".repeat(12))?;
    let file = file.display().to_string();
    let mut arguments = vec!["bench", "builtin", "--drafts", &file, "--draft-ngram"];
    arguments.extend(["-p", "16", "-n", "12", "-r", "2", "-o", "jsonl"]);
    let lines = json_lines(&succeed(&[&arguments[..], adapter].concat())?)?;
    ensure!(lines.len() == 2, "{lines:?}");
    for line in &lines {
        let figure = |field: &str| line[field].as_f64().context(field.to_string());
        ensure!(figure("tokens_per_second_with_drafts")? > 0.0, "{line}");
        let a_pass = line["drafts"]["tokens_per_pass"].as_f64();
        let a_pass = a_pass.context("tokens a pass")?;
        // Guesses from the text read no weights.
        ensure!(
            (figure("predicted_speed_up")? - a_pass).abs() < 1e-9,
            "{line}"
        );
    }
    let alone = run(&["bench", "builtin", "--draft-ngram", "-n", "4", "-p", "0"])?;
    ensure!(alone.stderr.contains("--drafts FILE"), "{}", alone.stderr);
    Ok(())
}

fn refusals() -> Result<()> {
    let cases: [(&[&str], [&str; 2]); 6] = [
        (
            &["--draft-ngram", "--draft-tokens", "8"],
            ["--draft-tokens", "1 to 7"],
        ),
        (
            &["--draft-ngram", "--draft-tokens", "0"],
            ["--draft-tokens", "1 to 7"],
        ),
        (
            &["--draft-tokens", "3"],
            ["--draft-tokens", "`--draft-ngram`"],
        ),
        (&["--draft-cycles", "1"], ["--draft-cycles", "`--no-exit`"]),
        (
            &["--draft-cycles", "3", "--no-exit"],
            ["--draft-cycles", "1 to 2"],
        ),
        (
            &["--draft-layers", "1", "--no-exit"],
            ["--draft-layers", "runs each layer once"],
        ),
    ];
    for (flags, words) in cases {
        let refused = run(&arguments(PROMPTS[0], &HOST, flags))?;
        ensure!(refused.status == 1, "{flags:?}: status {}", refused.status);
        let is_said = words.iter().all(|word| refused.stderr.contains(word));
        ensure!(is_said, "{flags:?}: {}", refused.stderr);
    }
    Ok(())
}
