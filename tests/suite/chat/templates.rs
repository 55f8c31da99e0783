//! Chat templates of known models give what transformers' `apply_chat_template` gives.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use ztt_wgpu::model::chat_template::ChatTemplate;

use crate::compare::same;
use crate::fixtures::{path, trial};

/// Each has a trial of its own.
const TEMPLATES: [&str; 7] = [
    "smollm2",
    "llama3",
    "llama3-training",
    "llama3.2",
    "qwen2.5",
    "qwen3",
    "mistral",
];

pub fn trials() -> Vec<Trial> {
    let of_model = TEMPLATES.iter().map(|&name| {
        trial(format!("chat::templates::{name}"), move || {
            like_transformers(name)
        })
    });
    let mut trials: Vec<Trial> = of_model.collect();
    trials.push(trial("chat::templates::endless", endless));
    trials
}

/// A template that would run for years is stopped.
fn endless() -> Result<()> {
    let loops = "{% for i in range(99999) %}".repeat(3);
    let source = format!("{loops}{}", "{% endfor %}".repeat(3));
    let template = ChatTemplate::parse("endless", source, BTreeMap::new())?;
    let Err(e) = template.render(&[Value::Null], true) else {
        bail!("it came to an end");
    };
    let e = e.to_string();
    ensure!(e.contains("out of fuel") || e.contains("seconds"), "{e}");
    Ok(())
}

fn like_transformers(name: &str) -> Result<()> {
    let file = format!("chat/templates/{name}.jinja");
    let source = std::fs::read_to_string(path(&file))?;
    let expected = std::fs::read_to_string(path("chat/templates.json"))?;
    let expected: Value = serde_json::from_str(&expected)?;
    let now = expected["now"].as_str().context("now")?.parse()?;
    let cases = expected["cases"].as_array().context("cases")?;
    let cases: Vec<_> = cases.iter().filter(|c| c["template"] == name).collect();
    ensure!(cases.len() == 18, "{} cases", cases.len());
    for case in cases {
        let tokens = ["bos_token", "eos_token"].into_iter().filter_map(|token| {
            let text = case[token].as_str()?;
            Some((token.to_string(), text.to_string()))
        });
        let tokens: BTreeMap<_, _> = tokens.collect();
        let template = ChatTemplate::parse(&file, source.clone(), tokens)?.at(now);
        let messages = case["messages"].as_array().context("messages")?;
        let prompt = case["add_generation_prompt"].as_bool().context("prompt")?;
        let what = format!("{}, prompt {prompt}", case["what"]);
        match (template.render(messages, prompt), case["raises"].as_str()) {
            (Ok(text), None) => {
                let expected = case["text"].as_str().context("text")?;
                same(&what, &[text.as_str()], &[expected])?;
            }
            (Err(e), Some(raises)) => {
                ensure!(e.to_string().contains(raises), "{what}: {e}");
            }
            (Ok(text), Some(raises)) => bail!("{what}: {text:?}, expected `{raises}`"),
            (Err(e), None) => bail!("{what}: {e}"),
        }
    }
    Ok(())
}
