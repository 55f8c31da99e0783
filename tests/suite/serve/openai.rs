//! OpenAI's own client for Python.

use std::path::PathBuf;

use anyhow::{Context, Result};
use libtest_mimic::Trial;

use super::server::{DEVICE, HOST, Server};
use crate::adapter;
use crate::chat::model::ChatModel;
use crate::fixtures::trial;
use crate::models::SMOLLM2;
use crate::python;

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![trial("serve::openai::the_client_for_python", || {
        client(&HOST, &ChatModel::new()?.name(), "Client")
    })];
    let name = "serve::openai::the_client_with_smollm2";
    trials.push(match std::env::var_os(SMOLLM2).map(PathBuf::from) {
        Some(folder) => adapter::trial(name, move |_| {
            client(&DEVICE, folder.to_str().context("path")?, "SmolLM2")
        }),
        None => trial(name, || Ok(()))
            .with_kind(format!("{SMOLLM2} is not set"))
            .with_ignored_flag(true),
    });
    python::trials(&["openai"], trials)
}

/// The tests of a class of `client.py`.
fn client(adapter: &[&str], model: &str, class: &str) -> Result<()> {
    let flags = [
        "--alias",
        "served",
        "--api-key",
        "secret",
        "--temperature",
        "0",
    ];
    let flags = [&flags[..], &["--ctx", "256"]].concat();
    let server = Server::start_on(adapter, model, &flags, &[])?;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/serve");
    let mut python = python::python(&["-m", "unittest", &format!("client.{class}")]);
    python.current_dir(folder);
    python.env("OPENAI_BASE_URL", format!("{}/v1", server.url));
    python.env("OPENAI_API_KEY", "secret");
    python::succeeds(&mut python)
}
