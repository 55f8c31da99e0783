//! SmolLM2-135M-Instruct answers as it does in transformers.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::adapter;
use crate::compare::same;
use crate::fixtures::path;
use crate::models::SMOLLM2;
use crate::program::{command, output};

pub fn trial() -> Trial {
    let name = "chat::smollm2_135m_answers_as_in_transformers";
    let Some(folder) = std::env::var_os(SMOLLM2).map(PathBuf::from) else {
        let reason = format!("{SMOLLM2} is not set");
        let skipped = Trial::test(name, || Ok(()));
        return skipped.with_kind(reason).with_ignored_flag(true);
    };
    adapter::trial(name, move |_| {
        let expected = std::fs::read_to_string(path("chat/smollm2.json"))?;
        let expected: Value = serde_json::from_str(&expected)?;
        let n = expected["max_tokens"].to_string();
        let conversations = expected["conversations"].as_array().context("list")?;
        ensure!(conversations.len() == 3, "{} of them", conversations.len());
        let folder = folder.to_str().context("path")?;
        conversations.iter().try_for_each(|c| hold(folder, &n, c))
    })
}

/// A conversation of two turns, as lines; the saved file has the texts to the byte.
fn hold(folder: &str, max_tokens: &str, conversation: &Value) -> Result<()> {
    let saved = tempfile::NamedTempFile::new()?;
    let turns = conversation["turns"].as_array().context("turns")?;
    ensure!(turns.len() == 2, "{} turns", turns.len());
    let mut lines = String::new();
    for turn in turns {
        lines += turn["question"].as_str().context("question")?;
        lines += "\n/stats\n";
    }
    lines += &format!("/save {}\n", saved.path().display());
    let mut arguments = vec!["chat", folder, "-n", max_tokens, "--temperature", "0"];
    arguments.extend(["--kv-type", "f32", "--ctx", "256"]);
    if let Some(system) = conversation["system"].as_str() {
        arguments.extend(["--system", system]);
    }
    let mut chat = command(&arguments);
    chat.write_stdin(lines);
    let run = output(chat)?;
    ensure!(run.status == 0, "status {}: {}", run.status, run.stderr);
    let messages: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(saved.path())?)?;
    let answers: Vec<_> = messages
        .iter()
        .filter(|m| m["role"] == "assistant")
        .map(|m| &m["content"])
        .collect();
    let expected: Vec<_> = turns.iter().map(|t| &t["answer"]).collect();
    same("answers", &answers, &expected)?;
    for turn in turns {
        let counted = format!("of the {} tokens before the answer", turn["prompt_tokens"]);
        ensure!(run.stderr.contains(&counted), "{counted}: {}", run.stderr);
    }
    Ok(())
}
