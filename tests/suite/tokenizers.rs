//! Small tokenizers of each kind: text as it is streamed against all ids decoded at once, and
//! the files beside `tokenizer.json` against transformers.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use ztt_wgpu::model::Text;
use ztt_wgpu::model::tokenizer::{TextStream, Tokenizer};

use crate::fixtures::{path, trial};
use crate::program::{Checkpoint, json_lines, run, succeed};
use crate::random::Random;
use crate::serve::server::{COMPLETIONS, Server};

/// How many random texts are streamed with each kind of tokenizer.
const TEXTS: &str = "ZTT_TEXTS";
const DEFAULT_TEXTS: usize = 2000;

const KINDS: [&str; 5] = ["byte_level", "gemma", "llama", "unigram", "word_piece"];

pub fn trials() -> Vec<Trial> {
    let asked = std::env::var(TEXTS).ok().and_then(|n| n.parse().ok());
    let n: usize = asked.unwrap_or(DEFAULT_TEXTS);
    let mut all: Vec<Trial> = (KINDS.iter())
        .map(|&kind| {
            trial(format!("tokenizers::streamed_{kind}"), move || {
                streamed(kind, n)
            })
        })
        .collect();
    all.push(trial("tokenizers::spaces_are_there", spaces_are_there));
    all.push(trial("tokenizers::as_transformers", as_transformers));
    all.push(trial("tokenizers::an_empty_text_has_its_bos", empty_text));
    all.push(trial("tokenizers::ids_that_disagree_are_told", other_ids));
    all
}

fn tokenizer(kind: &str) -> Result<Tokenizer> {
    let path = path(&format!("tokenizers/{kind}.json"));
    let text = std::fs::read_to_string(&path)?;
    Ok(Tokenizer::parse(kind, &path.display().to_string(), &text)?)
}

/// Random prompts and continuations, both of them ids and not texts: any split of any bytes.
fn streamed(kind: &str, n_texts: usize) -> Result<()> {
    let tokenizer = tokenizer(kind)?;
    let vocabulary = vocabulary(kind)?;
    for seed in 0..n_texts {
        let mut random = Random::new(seed as u64);
        let mut draw = |most: usize| -> Vec<u32> {
            let n = random.below(most + 1);
            // Some texts are of few tokens, so that the same ones come in a row.
            let n_kinds = [vocabulary.len(), 4][random.below(2)];
            let mut one = || vocabulary[random.below(vocabulary.len())];
            let few: Vec<u32> = (0..n_kinds).map(|_| one()).collect();
            (0..n).map(|_| few[random.below(few.len())]).collect()
        };
        let (prompt, new) = (draw(12), draw(24));
        check(&tokenizer, &prompt, &new)
            .with_context(|| format!("seed {seed}: {prompt:?} {new:?}"))?;
    }
    Ok(())
}

/// The ids that are drawn from: bytes, special tokens and one that no token has are drawn more
/// often than others.
fn vocabulary(kind: &str) -> Result<Vec<u32>> {
    let file = std::fs::read(path(&format!("tokenizers/{kind}.json")))?;
    let file: Value = serde_json::from_slice(&file)?;
    let mut ids: Vec<u32> = Vec::new();
    match &file["model"]["vocab"] {
        Value::Object(vocab) => {
            for (token, id) in vocab {
                let id = id.as_u64().context("id")? as u32;
                let is_byte = token.chars().count() == 1 || token.starts_with("<0x");
                ids.extend(std::iter::repeat_n(id, if is_byte { 2 } else { 1 }));
            }
        }
        Value::Array(vocab) => ids.extend(0..vocab.len() as u32),
        _ => anyhow::bail!("no vocabulary"),
    }
    let added = ids.iter().max().context("ids")? + 1;
    for id in [1, 2, 3, added, added + 1] {
        ids.extend([id; 4]);
    }
    Ok(ids)
}

fn check(tokenizer: &Tokenizer, prompt: &[u32], new: &[u32]) -> Result<()> {
    let before = tokenizer.decode(prompt, true)?;
    let all = tokenizer.decode(&[prompt, new].concat(), true)?;
    let n_common = before.chars().zip(all.chars()).take_while(|(a, b)| a == b);
    let expected: String = all.chars().skip(n_common.count()).collect();
    let mut stream = TextStream::after(tokenizer, prompt)?;
    let mut texts = Vec::new();
    for (i, &id) in new.iter().enumerate() {
        texts.extend(stream.push(id)?);
        ensure!(texts.len() <= i + 1, "more texts than tokens");
        ensure!(
            expected.starts_with(&texts.concat()),
            "{texts:?} is not the beginning of {expected:?}"
        );
    }
    texts.extend(stream.finish()?);
    ensure!(texts.len() == new.len(), "{} texts", texts.len());
    ensure!(texts.concat() == expected, "{texts:?} is not {expected:?}");

    let ids = [prompt, new].concat();
    let expected = tokenizer.decode(&ids, false)?;
    let mut stream = TextStream::with_special(tokenizer);
    let mut texts = Vec::new();
    for &id in &ids {
        texts.extend(stream.push(id)?);
    }
    texts.extend(stream.finish()?);
    ensure!(texts.len() == ids.len(), "{} texts", texts.len());
    ensure!(texts.concat() == expected, "{texts:?} is not {expected:?}");
    Ok(())
}

/// The texts of some continuations, one by one.
fn spaces_are_there() -> Result<()> {
    let llama = tokenizer("llama")?;
    let texts = |tokenizer: &Tokenizer, prompt: &str, tokens: &[&str]| -> Result<Vec<String>> {
        let prompt = tokenizer.encode(prompt)?;
        let mut stream = TextStream::after(tokenizer, &prompt)?;
        let mut texts = Vec::new();
        for token in tokens {
            texts.extend(stream.push(tokenizer.id(token).context(token.to_string())?)?);
        }
        texts.extend(stream.finish()?);
        Ok(texts)
    };
    let found = texts(
        &llama,
        "Call me",
        &["▁the", "<|user|>", "▁a", "<0x0A>", "▁a"],
    )?;
    ensure!(found == [" the", "", " a", "\n", " a"], "{found:?}");
    let found = texts(&llama, "", &["▁the", "▁a"])?;
    ensure!(found == ["the", " a"], "{found:?}");
    // The crab, a stray byte, and the tokens that follow it.
    let crab = [
        "<0xF0>", "<0x9F>", "<0xA6>", "<0x80>", "▁a", "<0xF0>", "▁a", "<0xE2>",
    ];
    let found = texts(&llama, "I", &crab)?;
    let expected = ["", "", "", "🦀", " a", "\u{fffd}", " a", "\u{fffd}"];
    ensure!(found == expected, "{found:?}");
    let bytes = tokenizer("byte_level")?;
    let found = texts(&bytes, "I", &["ð", "Ł", "¦", "Ģ", "Ġ", "ð", "a", "â"])?;
    let expected = ["", "", "", "🦀", " ", "\u{fffd}", "a", "\u{fffd}"];
    ensure!(found == expected, "{found:?}");
    // A character that a prompt began.
    let mut stream = TextStream::after(&bytes, &[bytes.id("ð").context("id")?])?;
    let mut text = String::new();
    for token in ["Ł", "¦", "Ģ"] {
        text.extend(stream.push(bytes.id(token).context("id")?)?);
    }
    ensure!(text == "🦀", "{text:?}");
    let words = tokenizer("word_piece")?;
    let found = texts(&words, "the dog", &["##s", "the", ".", "dog"])?;
    ensure!(found == ["s", " the", ".", " dog"], "{found:?}");
    Ok(())
}

/// Ids and texts with the files that may lie beside `tokenizer.json`.
fn as_transformers() -> Result<()> {
    let cases = std::fs::read(path("tokenizers/expected.json"))?;
    let cases: Vec<Value> = serde_json::from_slice(&cases)?;
    for case in &cases {
        let name = case["name"].as_str().context("name")?;
        with_files(case).with_context(|| format!("case {name}"))?;
    }
    Ok(())
}

fn with_files(case: &Value) -> Result<()> {
    let kind = case["tokenizer"].as_str().context("tokenizer")?;
    let file = std::fs::read(path(&format!("tokenizers/{kind}.json")))?;
    let mut file: Value = serde_json::from_slice(&file)?;
    for (name, value) in case["changes"].as_object().context("changes")? {
        file[name] = value.clone();
    }
    let text = |name: &'static str, content: &Value| Text {
        name,
        file: name.to_string(),
        text: content.to_string(),
    };
    let mut texts = vec![text("tokenizer.json", &file)];
    let names = [
        "config.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
    ];
    for name in names {
        texts.extend(case["files"].get(name).map(|content| text(name, content)));
    }
    let tokenizer = Tokenizer::of_checkpoint("model", &texts)?.context("tokenizer.json")?;
    ensure!(
        tokenizer.warnings().is_empty(),
        "{:?}",
        tokenizer.warnings()
    );
    for expected in case["texts"].as_array().context("texts")? {
        let ids = tokenizer.encode(expected[0].as_str().context("text")?)?;
        let decoded = tokenizer.decode(&ids, true)?;
        let found = json!([expected[0], ids, decoded]);
        ensure!(&found == expected, "{found} is not {expected}");
        // The text as a stream that begins anywhere in it.
        for n_prompt in 0..=ids.len() {
            let (prompt, new) = ids.split_at(n_prompt);
            check(&tokenizer, prompt, new)?;
        }
    }
    Ok(())
}

/// A model whose first token only the tokenizer's post-processor knows.
fn without_bos() -> Result<Checkpoint> {
    let checkpoint = Checkpoint::copy_of("llama-plain")?.set("", "bos_token_id", Value::Null)?;
    std::fs::copy(
        path("tokenizers/llama.json"),
        checkpoint.file("tokenizer.json"),
    )?;
    Ok(checkpoint)
}

fn empty_text() -> Result<()> {
    let checkpoint = without_bos()?;
    let name = checkpoint.name();
    for text in [&[""][..], &[]] {
        let arguments = [&["trace", &name], text, &["--adapter", "cpu", "--json"]].concat();
        let lines = json_lines(&succeed(&arguments)?)?;
        ensure!(lines.len() == 1 && lines[0]["id"] == 1, "{lines:?}");
        ensure!(lines[0]["text"] == "<s>", "{lines:?}");
        let arguments = [&["run", &name], text, &["--adapter", "cpu", "-n", "1"]].concat();
        succeed(&arguments)?;
    }
    let server = Server::start(&name, &[])?;
    let response = server.ok(COMPLETIONS, &json!({"prompt": "", "max_tokens": 1}))?;
    ensure!(response["usage"]["prompt_tokens"] == 1, "{response}");
    Ok(())
}

fn other_ids() -> Result<()> {
    let checkpoint = without_bos()?;
    let config = json!({"added_tokens_decoder": {"900": {"content": "<x>", "special": true}}});
    std::fs::write(checkpoint.file("tokenizer_config.json"), config.to_string())?;
    let run = run(&[
        "trace",
        &checkpoint.name(),
        "",
        "--adapter",
        "cpu",
        "--json",
    ])?;
    ensure!(run.status == 0, "{}", run.stderr);
    let expected = "warning: ";
    let said = run.stderr.lines().find(|line| line.contains(expected));
    let said = said.with_context(|| run.stderr.clone())?;
    ensure!(said.contains("`<x>` has id 900 there and 361"), "{said}");
    Ok(())
}
