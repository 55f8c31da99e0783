//! `convert`: the layers kept, all else unchanged, input refused.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use safetensors::SafeTensors;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::adapter;
use crate::compare::{all_close, same};
use crate::errors::fails;
use crate::fixtures::{f32s, path, trial};
use crate::models::SMOLLM2;
use crate::program::{Checkpoint, succeed};

/// The largest difference of logits with all layers kept and one cycle.
const TOLERANCE: f64 = 1e-3;

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("convert::layers_are_chosen", layers),
        trial("convert::settings_by_layer_follow", layer_settings),
        trial("convert::texts_are_copied", texts),
        trial("convert::refused", refused),
        smollm2(),
    ];
    for case in ["golden/llama-plain", "gpt2-tiny"] {
        for device in ["adapter", "host"] {
            let name = format!("convert::one_cycle_is_the_original::{case}::{device}");
            let ids = ["--ids", "1 5 17 80 3 3 44 9 100 2 61 7"];
            let model = path(case).display().to_string();
            trials.push(match device {
                "host" => trial(name, move || {
                    one_cycle(&model, &[&ids[..], &["--adapter", "cpu"]].concat())
                }),
                _ => adapter::trial(name, move |_| one_cycle(&model, &ids)),
            });
        }
    }
    trials
}

/// A converted checkpoint in a folder of its own.
struct Converted {
    folder: TempDir,
}

impl Converted {
    fn new(model: &str, flags: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let converted = Self { folder };
        succeed(&[&["convert", model, "-o", &converted.name()], flags].concat())?;
        Ok(converted)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("start")
    }

    fn name(&self) -> String {
        self.path().display().to_string()
    }

    fn weights(&self) -> Result<Vec<u8>> {
        Ok(std::fs::read(self.path().join("model.safetensors"))?)
    }

    fn config(&self) -> Result<Value> {
        let text = std::fs::read_to_string(self.path().join("config.json"))?;
        Ok(serde_json::from_str(&text)?)
    }
}

/// The logits of every position, by `trace` of `model` with `arguments`.
pub fn logits(model: &str, arguments: &[&str]) -> Result<Vec<f32>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("logits.safetensors");
    let shown = file.display().to_string();
    succeed(&[&["trace", model, "--logits", &shown], arguments].concat())?;
    let bytes = std::fs::read(file)?;
    f32s(&SafeTensors::deserialize(&bytes)?, "logits")
}

/// One cycle, stored or as a cap, gives the original's logits; two do not.
fn one_cycle(model: &str, arguments: &[&str]) -> Result<()> {
    let expected = logits(model, arguments)?;
    let shape = ["--head", "1", "--tail", "1", "--cycles"];
    let one = Converted::new(model, &[&shape[..], &["1"]].concat())?;
    let two = Converted::new(model, &[&shape[..], &["2"]].concat())?;
    let capped = [arguments, &["--cycles", "1"]].concat();
    let stored = logits(&one.name(), arguments)?;
    all_close("one cycle", &stored, &expected, TOLERANCE)?;
    let capped = logits(&two.name(), &capped)?;
    all_close("a cap of one cycle", &capped, &expected, TOLERANCE)?;
    let twice = logits(&two.name(), arguments)?;
    ensure!(
        all_close("two cycles", &twice, &expected, TOLERANCE).is_err(),
        "the second cycle changes nothing"
    );
    Ok(())
}

fn smollm2() -> Trial {
    let name = "convert::one_cycle_is_the_original::smollm2";
    let Some(model) = std::env::var(SMOLLM2).ok() else {
        let reason = format!("{SMOLLM2} is not set");
        return trial(name, || Ok(()))
            .with_kind(reason)
            .with_ignored_flag(true);
    };
    adapter::trial(name, move |_| {
        let prompt = "The capital of France is Paris, and that of Italy is";
        let flags = ["--cycles", "1"];
        let converted = Converted::new(&model, &flags)?;
        let expected = logits(&model, &[prompt])?;
        let found = logits(&converted.name(), &[prompt])?;
        all_close("logits", &found, &expected, TOLERANCE)
    })
}

fn layers() -> Result<()> {
    let case = "golden/llama-plain";
    let flags = [
        "--head", "1", "--tail", "1", "--middle", "2-2", "--cycles", "3",
    ];
    let converted = Converted::new(&path(case).display().to_string(), &flags)?;
    let old = std::fs::read(path(case).join("model.safetensors"))?;
    let (old, new) = (SafeTensors::deserialize(&old)?, converted.weights()?);
    let new = SafeTensors::deserialize(&new)?;
    let of_a_layer = |name: &&str| name.contains(".layers.");
    same(
        "tensors",
        &[new.len()],
        &[old.len() - old.names().into_iter().filter(of_a_layer).count() / 4],
    )?;
    for name in new.names() {
        // Layers 0, 2 and 3 of four are now 0, 1 and 2.
        let old_name = name.replace(".layers.2.", ".layers.3.");
        let old_name = old_name.replace(".layers.1.", ".layers.2.");
        let (view, expected) = (new.tensor(name)?, old.tensor(&old_name)?);
        ensure!(view == expected, "`{name}` is not the old `{old_name}`");
    }
    let config = converted.config()?;
    same(
        "config",
        &[&config["model_type"], &config["base_model_type"]],
        &[&json!("ztt"), &json!("llama")],
    )?;
    let walk = succeed(&["inspect", &converted.name()])?;
    for line in [
        "layers       3 stored: 1 head, 1 middle x 3 cycles, 1 tail",
        "walk         0 [1] [1] [1] 2 (5 effective layers)",
    ] {
        ensure!(walk.contains(line), "no {line} in {walk}");
    }
    Ok(())
}

/// `max_window_layers` and `layer_types` speak of layers that have moved.
fn layer_settings() -> Result<()> {
    let model = path("families/qwen2-window").display().to_string();
    let converted = Converted::new(&model, &["--head", "0", "--tail", "1", "--cycles", "1"])?;
    let text = std::fs::read_to_string(path("families/qwen2-window/config.json"))?;
    let original: Value = serde_json::from_str(&text)?;
    let fields = ["layer_types", "max_window_layers", "sliding_window"];
    let of = |config: &Value| fields.map(|field| config[field].clone());
    same("all kept", &of(&converted.config()?), &of(&original))?;
    let flags = [
        "--head", "0", "--tail", "1", "--middle", "1-1", "--cycles", "1",
    ];
    let fewer = Converted::new(&model, &flags)?.config()?;
    let first = original["max_window_layers"].as_u64().context("windows")?;
    same(
        "first dropped",
        &[&fewer["max_window_layers"]],
        &[&json!(first - 1)],
    )
}

fn texts() -> Result<()> {
    let plain = Checkpoint::copy_of("llama-plain")?;
    for name in ["tokenizer_config.json", "chat_template.jinja"] {
        std::fs::write(plain.file(name), "{}")?;
    }
    let flags = ["--head", "1", "--tail", "1"];
    let converted = Converted::new(&plain.name(), &flags)?;
    let entries = std::fs::read_dir(converted.path())?;
    let names: std::io::Result<Vec<_>> = entries.map(|e| Ok(e?.file_name())).collect();
    let mut names = names?;
    names.sort();
    let expected = [
        "chat_template.jinja",
        "config.json",
        "model.safetensors",
        "tokenizer_config.json",
    ];
    same("files", &names, &expected.map(Into::into))
}

fn refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("start").display().to_string();
    let plain = path("golden/llama-plain").display().to_string();
    let convert = |model: &str, flags: &[&str], status, words: &[&str]| {
        let arguments = [&["convert", model, "-o", &out], flags].concat();
        fails(&arguments, status, words)
    };
    convert("builtin", &[], 1, &["`builtin`", "plain", "Zero Token"])?;
    convert(
        &plain,
        &[],
        1,
        &["--head and --tail", "4 layers", "found 4"],
    )?;
    let one_each = ["--head", "1", "--tail", "1"];
    let with = |flags: &[&'static str]| [&one_each[..], flags].concat();
    for wrong in ["0-2", "1-3", "2-9"] {
        let flags = with(&["--middle", wrong]);
        convert(&plain, &flags, 1, &["--middle", "1-2", wrong])?;
    }
    let many = with(&["--cycles", "1000000"]);
    convert(&plain, &many, 1, &["`ztt.cycles`", "at most", "1000000"])?;
    for wrong in ["2-1", "2", "a-b", "1-", "1-2-3"] {
        convert(
            &plain,
            &with(&["--middle", wrong]),
            2,
            &["--middle", "4-15"],
        )?;
    }
    convert(&plain, &with(&["--cycles", "0"]), 2, &["at least 1"])?;
    ensure!(!folder.path().join("start").exists(), "something was left");
    fails(&["convert", &plain], 2, &["--output"])?;
    let existing = folder.path().display().to_string();
    let onto = |folder: &str, words: &[&str]| {
        let arguments = [&["convert", &plain, "-o", folder], &one_each[..]].concat();
        fails(&arguments, 1, words)
    };
    onto(&existing, &[&existing, "does not exist yet"])?;
    onto("/nowhere/start", &["/nowhere/start", "No such"])
}
