//! Requests and responses.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use ztt_wgpu::model::{BUILTIN, Fetch, Model};

use super::server::{CHAT, COMPLETIONS, HOST, Server, parts, texts};
use crate::chat::model::ChatModel;
use crate::compare::same;
use crate::fixtures::trial;
use crate::program::{command, output, succeed};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("serve::api::a_completion_is_what_run_gives", completion),
        trial("serve::api::chats_are_answered_as_by_chat", chat),
        trial("serve::api::several_prompts_and_texts", several),
        trial("serve::api::streams_have_the_same_texts", streams),
        trial("serve::api::stop_texts_and_probabilities", probabilities),
        trial("serve::api::models_health_and_unknown_routes", routes),
    ]
}

/// The text that `run` gives on `adapter`, greedily.
pub fn run_on(adapter: &[&str], model: &str, prompt: &str, n: &str) -> Result<String> {
    let flags = ["--temperature", "0", "-n", n];
    let text = succeed(&[&["run", model, prompt], adapter, &flags].concat())?;
    Ok(text.strip_suffix('\n').context("line")?.to_string())
}

/// The text that `run` gives on the reference, greedily.
pub fn run(model: &str, prompt: &str, n: &str) -> Result<String> {
    run_on(&HOST, model, prompt, n)
}

fn text(response: &Value) -> Result<&str> {
    let choice = &response["choices"][0];
    let text = choice["text"]
        .as_str()
        .or(choice["message"]["content"].as_str());
    text.with_context(|| format!("no text: {response}"))
}

fn completion() -> Result<()> {
    let server = Server::start("builtin", &["--seed", "4"])?;
    let greedy = json!({"prompt": "ROMEO:", "max_tokens": 12, "temperature": 0,
                        "model": "builtin", "user": "me", "tools": null});
    let response = server.ok(COMPLETIONS, &greedy)?;
    same(
        "text",
        &[text(&response)?],
        &[run("builtin", "ROMEO:", "12")?.as_str()],
    )?;
    ensure!(
        response["choices"][0]["finish_reason"] == "length",
        "{response}"
    );
    ensure!(response["object"] == "text_completion", "{response}");
    let usage = &response["usage"];
    let counts = ["prompt_tokens", "completion_tokens", "total_tokens"].map(|n| &usage[n]);
    same("usage", &counts, &[&json!(2), &json!(12), &json!(14)])?;
    let mean = usage["ztt"]["mean_cycles"].as_f64().context("cycles")?;
    ensure!((1.0..3.0).contains(&mean), "{usage}");
    let nothing = json!({"prompt": "ROMEO:", "max_tokens": 0});
    let empty = server.ok(COMPLETIONS, &nothing)?;
    let finish = &empty["choices"][0]["finish_reason"];
    ensure!(text(&empty)?.is_empty() && finish == "length", "{empty}");
    ensure!(empty["usage"]["completion_tokens"] == 0, "{empty}");
    // Without fields the model's defaults hold, as for `run`, and the flags.
    let plain = json!({"prompt": "ROMEO:", "max_tokens": 12});
    let drawn = server.ok(COMPLETIONS, &plain)?;
    let flags = ["--seed", "4", "-n", "12"];
    let expected = succeed(&[&["run", "builtin", "ROMEO:"], &HOST[..], &flags].concat())?;
    same(
        "drawn",
        &[text(&drawn)?],
        &[expected.trim_end_matches('\n')],
    )?;
    ensure!(text(&drawn)? != text(&response)?, "greedy all the same");
    // Cached positions are not run again, and change nothing.
    let again = server.ok(COMPLETIONS, &greedy)?;
    same("again", &[text(&again)?], &[text(&response)?])?;
    let cached = &again["usage"]["prompt_tokens_details"]["cached_tokens"];
    same("cached", &[cached], &[&json!(1)])?;
    server.wait_for("ztt_generated_tokens_total", 36.0)
}

fn chat() -> Result<()> {
    let model = ChatModel::new()?;
    let name = model.name();
    let flags = ["--temperature", "0", "-n", "12"];
    let mut session = command(&[&["chat", &name], &HOST[..], &flags].concat());
    session.write_stdin("Who is it?\nWhy so?");
    let answers = output(session)?.stdout;
    let server = Server::start(&name, &["--temperature", "0", "--alias", "juliet"])?;
    let question = json!({"role": "user", "content": "Who is it?"});
    let mut request = json!({"model": "juliet", "messages": [question], "max_tokens": 12});
    let first = server.ok(CHAT, &request)?;
    ensure!(first["object"] == "chat.completion", "{first}");
    ensure!(
        first["choices"][0]["message"]["role"] == "assistant",
        "{first}"
    );
    let parts = json!([{"type": "text", "text": "Why "}, {"type": "text", "text": "so?"}]);
    let turns = request["messages"].as_array_mut().context("messages")?;
    turns.push(first["choices"][0]["message"].clone());
    turns.push(json!({"role": "user", "content": parts}));
    let second = server.ok(CHAT, &request)?;
    let expected = format!("{}\n{}\n", text(&first)?, text(&second)?);
    same("answers", &[answers], &[expected])?;
    // The second turn has run only the new tokens: its prompt begins with the first and its answer,
    // whose last token was never run.
    let count = |response: &Value, name: &str| response["usage"][name].as_u64().context("count");
    let details = &second["usage"]["prompt_tokens_details"];
    let cached = details["cached_tokens"].as_u64().context("cached")?;
    same("cached", &[cached], &[count(&first, "prompt_tokens")? + 11])?;
    let request = json!({"messages": [question], "max_completion_tokens": 3, "logprobs": true,
                         "top_logprobs": 2});
    let short = server.ok(CHAT, &request)?;
    let tokens = short["choices"][0]["logprobs"]["content"]
        .as_array()
        .context("tokens")?;
    same("tokens", &[tokens.len()], &[3])?;
    for token in tokens {
        ensure!(
            token["logprob"] == token["top_logprobs"][0]["logprob"],
            "{token}"
        );
        ensure!(
            token["token"] == token["top_logprobs"][0]["token"],
            "{token}"
        );
    }
    Ok(())
}

fn several() -> Result<()> {
    let server = Server::start("builtin", &[])?;
    let one = |prompt: &Value, seed: u64| -> Result<String> {
        let request = json!({"prompt": prompt, "max_tokens": 8, "seed": seed});
        Ok(text(&server.ok(COMPLETIONS, &request)?)?.to_string())
    };
    let (romeo, call) = (json!("ROMEO:"), json!("Call me"));
    let mut expected = Vec::new();
    for (prompt, seed) in [(&romeo, 7), (&romeo, 8), (&call, 7), (&call, 8)] {
        expected.push(one(prompt, seed)?);
    }
    ensure!(expected[0] != expected[1], "seeds make no difference");
    let request = json!({"prompt": [romeo, call], "max_tokens": 8, "seed": 7, "n": 2});
    let response = server.ok(COMPLETIONS, &request)?;
    let choices = response["choices"].as_array().context("choices")?;
    let found: Vec<_> = choices.iter().filter_map(|c| c["text"].as_str()).collect();
    same(
        "texts",
        &found,
        &expected.iter().map(String::as_str).collect::<Vec<_>>(),
    )?;
    // A prompt counts once.
    let tokenizer = Model::open(BUILTIN, Fetch::Never)?.tokenizer()?;
    let (ids, others) = (tokenizer.encode("ROMEO:")?, tokenizer.encode("Call me")?);
    let n_prompt = json!(ids.len() + others.len());
    same(
        "prompts",
        &[&response["usage"]["prompt_tokens"]],
        &[&n_prompt],
    )?;
    same(
        "ids",
        &[one(&json!(ids), 7)?, one(&json!([ids]), 8)?],
        &expected[..2],
    )?;
    ensure!(!one(&json!(""), 1)?.is_empty(), "nothing from nothing");
    Ok(())
}

fn streams() -> Result<()> {
    let model = ChatModel::new()?;
    let server = Server::start(&model.name(), &["--temperature", "0.9"])?;
    let chat = json!({"messages": [{"role": "user", "content": "Who is it?"}]});
    let completion = json!({"prompt": "Call me"});
    for (path, body) in [(CHAT, chat), (COMPLETIONS, completion)] {
        let mut body = body.clone();
        body["max_tokens"] = 10.into();
        body["seed"] = 3.into();
        body["n"] = 2.into();
        let whole = server.ok(path, &body)?;
        body["stream"] = true.into();
        body["stream_options"] = json!({"include_usage": true});
        let events = server.stream(path, &body)?.all()?;
        let (last, events) = events.split_last().context("events")?;
        same(
            "usage",
            &[&last["usage"]["total_tokens"]],
            &[&whole["usage"]["total_tokens"]],
        )?;
        ensure!(last["choices"] == json!([]), "{last}");
        ensure!(
            events
                .iter()
                .all(|e| e["usage"].is_null() && e["id"] == last["id"])
        );
        for (i, text) in texts(events, 2)?.into_iter().enumerate() {
            let choice = &whole["choices"][i];
            let expected = choice["text"]
                .as_str()
                .or(choice["message"]["content"].as_str());
            same("text", &[text.as_str()], &[expected.context("text")?])?;
            let of_choice = events.iter().map(|e| &e["choices"][0]);
            let of_choice: Vec<_> = of_choice.filter(|c| c["index"] == i).collect();
            let last = of_choice.last().context("choice")?;
            same(
                "finish",
                &[&last["finish_reason"]],
                &[&choice["finish_reason"]],
            )?;
            if path == CHAT {
                ensure!(
                    of_choice[0]["delta"]["role"] == "assistant",
                    "{}",
                    of_choice[0]
                );
            }
        }
        // It comes piece by piece.
        ensure!(events.len() > 12, "{} events", events.len());
    }
    Ok(())
}

fn probabilities() -> Result<()> {
    let server = Server::start("builtin", &["--temperature", "0"])?;
    let whole = run("builtin", "ROMEO:", "12")?;
    let (before, stop) = whole.split_at_checked(9).context("short")?;
    let stop: String = stop.chars().take(4).collect();
    let request = json!({"prompt": "ROMEO:", "max_tokens": 12, "stop": ["nowhere", stop]});
    let response = server.ok(COMPLETIONS, &request)?;
    same("stopped", &[text(&response)?], &[before])?;
    ensure!(
        response["choices"][0]["finish_reason"] == "stop",
        "{response}"
    );
    let request = json!({"prompt": "ROMEO:", "max_tokens": 12, "logprobs": 3});
    let response = server.ok(COMPLETIONS, &request)?;
    let logprobs = &response["choices"][0]["logprobs"];
    let tokens: Vec<_> = logprobs["tokens"]
        .as_array()
        .context("tokens")?
        .iter()
        .collect();
    let joined: String = tokens.iter().filter_map(|t| t.as_str()).collect();
    same("tokens", &[joined.as_str()], &[whole.as_str()])?;
    for (i, token) in tokens.iter().enumerate() {
        let token = token.as_str().context("token")?;
        let top = logprobs["top_logprobs"][i].as_object().context("top")?;
        ensure!(top.len() == 3, "{top:?}");
        let drawn = logprobs["token_logprobs"][i].as_f64().context("logprob")?;
        // Greedy: the likeliest was drawn.
        let largest = top
            .values()
            .filter_map(Value::as_f64)
            .fold(f64::MIN, f64::max);
        ensure!(drawn == largest && drawn < 0.0, "{drawn} of {top:?}");
        let offset = logprobs["text_offset"][i].as_u64().context("offset")? as usize;
        ensure!(
            whole[offset..].starts_with(token),
            "{token} at {offset} of {whole}"
        );
    }
    Ok(())
}

fn routes() -> Result<()> {
    let server = Server::start("builtin", &[])?;
    let (status, models) = parts(server.get("/v1/models")?)?;
    ensure!(
        status == 200 && models["data"][0]["id"] == "builtin",
        "{models}"
    );
    let (status, model) = parts(server.get("/v1/models/builtin")?)?;
    ensure!(status == 200 && model == models["data"][0], "{model}");
    let (status, health) = parts(server.get("/health")?)?;
    ensure!(status == 200 && health["status"] == "ok", "{health}");
    for (path, expected) in [
        ("/v1/models/other", 404),
        ("/nope", 404),
        (COMPLETIONS, 405),
    ] {
        let (status, body) = parts(server.get(path)?)?;
        ensure!(
            status == expected && body["error"]["message"].is_string(),
            "{path}: {body}"
        );
    }
    Ok(())
}
