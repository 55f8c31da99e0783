//! The key, and bounds on size and time.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::load::endless;
use super::server::{COMPLETIONS, Server, parts};
use crate::chat::model::ChatModel;
use crate::compare::same;
use crate::fixtures::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("serve::limits::only_the_key_opens", key),
        trial("serve::limits::a_large_body_is_refused", body),
        trial("serve::limits::a_late_request_ends", timeout),
    ]
}

fn key() -> Result<()> {
    let server = Server::start("builtin", &["--api-key", "secret", "--host", "0.0.0.0"])?;
    let (status, health) = parts(server.get("/health")?)?;
    ensure!(status == 200, "{health}");
    let short = json!({"prompt": "ROMEO:", "max_tokens": 1});
    for wrong in [None, Some("secre"), Some("secrets")] {
        for path in ["/metrics", "/v1/models", "/nope"] {
            let response = super::server::get(&server.url, path, wrong)?;
            ensure!(response.headers().contains_key("www-authenticate"));
            let (status, error) = parts(response)?;
            ensure!(status == 401, "{wrong:?} {path}: {status}");
            ensure!(error["error"]["code"] == "invalid_api_key", "{error}");
        }
        let response = super::server::post(&server.url, COMPLETIONS, wrong, &short)?;
        same("status", &[parts(response)?.0], &[401])?;
    }
    let server = server.with_key("secret");
    server.ok(COMPLETIONS, &short)?;
    same(
        "status",
        &[server.get("/metrics")?.status().as_u16()],
        &[200],
    )
}

fn body() -> Result<()> {
    let server = Server::start("builtin", &["--max-body", "1000"])?;
    let request = |n: usize| json!({"prompt": "word ".repeat(n), "max_tokens": 1});
    let error = server.refuses(COMPLETIONS, &request(400), 413)?;
    ensure!(
        error["message"]
            .as_str()
            .is_some_and(|m| m.contains("--max-body")),
        "{error}"
    );
    server.ok(COMPLETIONS, &request(100))?;
    Ok(())
}

fn timeout() -> Result<()> {
    let model = ChatModel::endless()?;
    let server = Server::start(&model.name(), &["--timeout", "1"])?;
    let mut request = endless();
    let mut events = server.stream(COMPLETIONS, &request)?;
    let mut last = None;
    while let Some(data) = events.next_data()? {
        last = Some(data);
    }
    let last: Value = serde_json::from_str(&last.context("nothing came")?)?;
    ensure!(last["error"]["code"] == "timeout", "{last}");
    request["stream"] = false.into();
    let error = server.refuses(COMPLETIONS, &request, 504)?;
    ensure!(
        error["message"]
            .as_str()
            .is_some_and(|m| m.contains("--timeout")),
        "{error}"
    );
    server.wait_for("ztt_sequences_in_use", 0.0)
}
