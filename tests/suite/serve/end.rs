//! How a server ends.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::load::endless;
use super::server::{COMPLETIONS, Server, get, texts};
use crate::chat::model::ChatModel;
use crate::fixtures::trial;

#[cfg(unix)]
pub fn trials() -> Vec<Trial> {
    vec![
        trial("serve::end::sigterm_lets_requests_end", || drain("-TERM")),
        trial("serve::end::ctrl_c_lets_requests_end", || drain("-INT")),
        trial("serve::end::a_second_signal_ends_at_once", at_once),
    ]
}

#[cfg(not(unix))]
pub fn trials() -> Vec<Trial> {
    Vec::new()
}

fn drain(signal: &str) -> Result<()> {
    let server = Server::start("builtin", &["--temperature", "0"])?;
    let body = json!({"prompt": "Call me", "max_tokens": 150, "stream": true});
    let mut running = server.stream(COMPLETIONS, &body)?;
    let first: Value = serde_json::from_str(&running.next_data()?.context("nothing comes")?)?;
    server.signal(signal)?;
    // It does not accept any more.
    super::server::wait(|| Ok(get(&server.url, "/health", None).is_err()))?;
    let mut events = running.all()?;
    events.insert(0, first);
    let expected = super::api::run("builtin", "Call me", "150")?;
    ensure!(texts(&events, 1)? == [expected], "the text was cut");
    let (status, rest) = server.end()?;
    ensure!(status == Some(0), "{status:?}: {rest}");
    ensure!(
        rest == "served   3 tokens of prompts, 150 generated\n",
        "{rest}"
    );
    Ok(())
}

fn at_once() -> Result<()> {
    let model = ChatModel::endless()?;
    let server = Server::start(&model.name(), &[])?;
    let mut running = server.stream(COMPLETIONS, &endless())?;
    running.next_data()?.context("nothing comes")?;
    server.signal("-TERM")?;
    super::server::wait(|| Ok(get(&server.url, "/health", None).is_err()))?;
    server.signal("-TERM")?;
    let mut last = None;
    while let Some(data) = running.next_data()? {
        last = Some(data);
    }
    let last: Value = serde_json::from_str(&last.context("nothing came")?)?;
    ensure!(last["error"]["message"] == "the server ends", "{last}");
    let (status, rest) = server.end()?;
    ensure!(
        status == Some(0) && rest.contains(", 1 texts cut off"),
        "{status:?}: {rest}"
    );
    Ok(())
}
