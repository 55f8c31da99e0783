//! Small templates give what Jinja2 gives, set up as transformers sets it up, and the files with a
//! template and its variables are read as transformers reads them.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use ztt_wgpu::model::chat_template::ChatTemplate;
use ztt_wgpu::model::{Fetch, Model};

use super::model::ChatModel;
use crate::fixtures::{path, trial};

/// Groups of `jinja.json`, each with a trial of its own.
const GROUPS: [&str; 14] = [
    "lines",
    "literals",
    "operators",
    "lookup",
    "loops",
    "statements",
    "str methods",
    "containers",
    "filters",
    "tojson",
    "tests",
    "dates",
    "idioms",
    "mixed",
];

pub fn trials() -> Vec<Trial> {
    let groups = GROUPS.iter().map(|&group| {
        let name = group.replace(' ', "_");
        trial(format!("chat::jinja::{name}"), move || like_jinja(group))
    });
    let mut trials: Vec<Trial> = groups.collect();
    trials.push(trial("chat::jinja::not_supported", not_supported));
    trials.push(trial("chat::jinja::all_groups", all_groups));
    trials.push(trial("chat::jinja::special_tokens_map", special_tokens_map));
    trials.push(trial("chat::jinja::line_ends", line_ends));
    trials
}

fn fixture() -> Result<Value> {
    let text = std::fs::read_to_string(path("chat/jinja.json"))?;
    Ok(serde_json::from_str(&text)?)
}

fn rows<'a>(fixture: &'a Value, group: &str) -> Result<&'a Vec<Value>> {
    let rows = fixture["groups"][group].as_array();
    rows.with_context(|| format!("no group `{group}`"))
}

fn render(fixture: &Value, source: &str) -> Result<String> {
    let tokens = [("bos_token", "<s>"), ("eos_token", "</s>")];
    let tokens = tokens.map(|(name, text)| (name.to_string(), text.to_string()));
    let template = ChatTemplate::parse("t", source.to_string(), BTreeMap::from(tokens))?;
    let now = fixture["now"].as_str().context("now")?.parse()?;
    let messages = fixture["messages"].as_array().context("messages")?;
    Ok(template.at(now).render(messages, true)?)
}

fn like_jinja(group: &str) -> Result<()> {
    let fixture = fixture()?;
    let rows = rows(&fixture, group)?;
    let mut wrong = Vec::new();
    for row in rows {
        let source = row[0].as_str().context("source")?;
        match (render(&fixture, source), row[1].as_str()) {
            (Ok(text), Some(expected)) if text == expected => (),
            (Err(_), None) => (),
            (Ok(text), Some(expected)) => {
                wrong.push(format!("{source}\n  gives {text:?}\n  not   {expected:?}"));
            }
            (Ok(text), None) => wrong.push(format!("{source}\n  gives {text:?}, no error")),
            (Err(e), Some(_)) => wrong.push(format!("{source}\n  {e}")),
        }
    }
    ensure!(
        wrong.is_empty(),
        "{} of {} templates:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
    Ok(())
}

/// A feature that jinja2 renders and the program does not is refused by its name.
fn not_supported() -> Result<()> {
    let fixture = fixture()?;
    for row in rows(&fixture, "not supported")? {
        let (source, word) = (row[0].as_str(), row[1].as_str().context("word")?);
        match render(&fixture, source.context("source")?) {
            Ok(text) => bail!("{source:?} gives {text:?}"),
            Err(e) => ensure!(e.to_string().contains(word), "{source:?}: {e}"),
        }
    }
    Ok(())
}

/// No group of the fixture is left out.
fn all_groups() -> Result<()> {
    let fixture = fixture()?;
    let groups = fixture["groups"].as_object().context("groups")?;
    let known = GROUPS.iter().chain(&["not supported"]);
    let known: Vec<_> = known.map(|name| name.to_string()).collect();
    let found: Vec<_> = groups.keys().filter(|g| !known.contains(g)).collect();
    ensure!(found.is_empty() && groups.len() == known.len(), "{found:?}");
    Ok(())
}

/// The prompt that the model `name` makes of one message.
fn prompt(name: &str) -> Result<String> {
    let template = Model::open(name, Fetch::Never)?.chat_template()?;
    let message = json!({"role": "user", "content": "Hi"});
    Ok(template.render(&[message], true)?)
}

/// Special tokens that the map alone names are known, beside the weights and packed with them.
fn special_tokens_map() -> Result<()> {
    let model = ChatModel::without_template()?
        .with(
            "chat_template.jinja",
            "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}",
        )?
        .with("tokenizer_config.json", "{}")?
        .with(
            "special_tokens_map.json",
            r#"{"bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>"}"#,
        )?;
    let found = prompt(&model.name())?;
    ensure!(found == "<s>Hi</s>", "{found:?}");
    let packed = model.file("packed.safetensors");
    let status = Command::new(env!("CARGO_BIN_EXE_ztt-wgpu"))
        .args(["pack", &model.name(), "-o"])
        .arg(&packed)
        .output()?;
    ensure!(status.status.success(), "{status:?}");
    let alone = tempfile::tempdir()?;
    let moved = alone.path().join("model.safetensors");
    std::fs::rename(packed, &moved)?;
    let found = prompt(&moved.display().to_string())?;
    ensure!(found == "<s>Hi</s>", "packed: {found:?}");
    Ok(())
}

/// Lines that end with a carriage return are lines, wherever the template stands.
fn line_ends() -> Result<()> {
    let source = "{% for m in messages %}\r\n{{ m.role }}: {{ m.content }}\r\n{% endfor %}\r\nassistant:\r\n";
    let file = ChatModel::without_template()?.with("chat_template.jinja", source)?;
    let config = json!({ "chat_template": source }).to_string();
    let config = ChatModel::without_template()?.with("tokenizer_config.json", &config)?;
    for model in [file, config] {
        let found = prompt(&model.name())?;
        ensure!(found == "user: Hi\nassistant:", "{found:?}");
    }
    Ok(())
}
