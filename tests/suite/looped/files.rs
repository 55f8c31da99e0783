//! Looped models in other files: `quantize`, `pack` and `convert`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use ztt_wgpu::model::quant::QUANTS;

use super::{Edited, NANBEIGE, OURO, folder};
use crate::adapter;
use crate::compare::{all_close, same};
use crate::convert::logits;
use crate::errors::fails;
use crate::fixtures::{path, trial};
use crate::program::succeed;
use crate::serve::server::HOST;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("looped::quantize_leaves_norms_and_gates", kept),
        trial("looped::a_quantised_copy_runs_like_the_flag", || {
            quantised(&HOST)
        }),
        adapter::trial(
            "looped::a_quantised_copy_runs_like_the_flag_on_the_adapter",
            |_| quantised(&[]),
        ),
        trial("looped::a_packed_file_runs_like_its_folder", packed),
        trial(
            "looped::a_ztt_of_cycles_without_norms_runs_alike",
            converted,
        ),
        trial("looped::convert_refuses_norms_between_cycles", normed),
    ]
}

/// Type and bytes of tensors, by their names.
type Stored = BTreeMap<String, (Dtype, Vec<u8>)>;

/// The tensors in all files of a folder.
fn tensors(folder: &Path) -> Result<Stored> {
    let mut all = Stored::new();
    for file in std::fs::read_dir(folder)? {
        let file = file?.path();
        if file.extension().is_none_or(|kind| kind != "safetensors") {
            continue;
        }
        let bytes = std::fs::read(&file)?;
        for (name, view) in SafeTensors::deserialize(&bytes)?.tensors() {
            all.insert(name, (view.dtype(), view.data().to_vec()));
        }
    }
    Ok(all)
}

/// Norms and gates are as they were, bit for bit, and all else is in blocks.
fn kept() -> Result<()> {
    for model in [OURO, NANBEIGE] {
        let before = tensors(&path("looped").join(model))?;
        for &(format, _) in QUANTS {
            let copy = tempfile::tempdir()?;
            let output = copy.path().display().to_string();
            succeed(&["quantize", &folder(model), "-o", &output, "--to", format])?;
            let after = tensors(copy.path())?;
            let names = |of: &Stored| of.keys().cloned().collect::<Vec<_>>();
            same(model, &names(&after), &names(&before))?;
            let mut n_kept = 0;
            for (name, stored) in &before {
                let (dtype, bytes) = after.get(name).context("a tensor")?;
                let what = format!("{model} {format} `{name}`");
                match name.contains("norm") || name.contains("early_exit_gate") {
                    true => {
                        n_kept += 1;
                        let is_kept = *dtype == stored.0 && *bytes == stored.1;
                        ensure!(is_kept, "{what} changed");
                    }
                    false => ensure!(*dtype == Dtype::U8, "{what} is {dtype:?}"),
                }
            }
            // Four norms a layer or two, a final norm, and a gate of two tensors or none.
            let expected = if model == OURO {
                3 * 4 + 1 + 2
            } else {
                3 * 2 + 1
            };
            same(model, &[n_kept], &[expected])?;
        }
    }
    Ok(())
}

/// A text: greedy, a random model says one token for ever.
fn text(model: &str, flags: &[&str]) -> Result<String> {
    let fixed = ["run", model, "What say you", "-n", "12"];
    let drawn = ["--ignore-eos", "--temperature", "1", "--seed", "3"];
    succeed(&[&fixed[..], &drawn, flags].concat())
}

fn quantised(place: &[&str]) -> Result<()> {
    for model in [OURO, NANBEIGE] {
        for &(format, _) in QUANTS {
            let copy = tempfile::tempdir()?;
            let output = copy.path().display().to_string();
            succeed(&["quantize", &folder(model), "-o", &output, "--to", format])?;
            let expected = text(&folder(model), &[&["--quant", format], place].concat())?;
            ensure!(expected.len() > 5, "{expected:?}");
            let what = format!("{model} {format}");
            same(&what, &[text(&output, place)?], &[expected])?;
        }
    }
    Ok(())
}

fn packed() -> Result<()> {
    let elsewhere = tempfile::tempdir()?;
    for model in [OURO, NANBEIGE] {
        let file = elsewhere.path().join(format!("{model}.safetensors"));
        let file = file.display().to_string();
        succeed(&["pack", &folder(model), "-o", &file])?;
        let expected = text(&folder(model), &HOST)?;
        same(model, &[text(&file, &HOST)?], &[expected])?;
    }
    Ok(())
}

/// A model whose only norm is the last one is a ZTT without a pool.
fn converted() -> Result<()> {
    let model = Edited::of(NANBEIGE)?
        .set("config.json", "skip_loop_final_norm", json!(true))?
        .set("config.json", "head_dim", Value::Null)?;
    let elsewhere = tempfile::tempdir()?;
    let start = elsewhere.path().join("start");
    let output = start.display().to_string();
    succeed(&["convert", &model.name(), "-o", &output])?;
    let config: Value = serde_json::from_str(&std::fs::read_to_string(start.join("config.json"))?)?;
    let found = ["model_type", "base_model_type", "head_dim"].map(|field| &config[field]);
    same(
        "config",
        &found,
        &[&json!("ztt"), &json!("llama"), &json!(16)],
    )?;
    let found = ["head_layers", "tail_layers", "cycles"].map(|field| &config["ztt"][field]);
    same("block", &found, &[&json!(0), &json!(0), &json!(2)])?;
    for gone in ["num_loops", "kv_channels", "skip_loop_final_norm"] {
        ensure!(config.get(gone).is_none(), "{config}");
    }
    let text = ["In the beginning was the word."];
    let arguments = [&text[..], &HOST].concat();
    let expected = logits(&model.name(), &arguments)?;
    all_close("logits", &logits(&output, &arguments)?, &expected, 1e-5)?;
    let shallow = logits(&output, &[&arguments[..], &["--cycles", "1"]].concat())?;
    ensure!(
        all_close("one cycle", &shallow, &expected, 1e-3).is_err(),
        "the second cycle changes nothing"
    );
    Ok(())
}

/// No ZTT has such norms.
fn normed() -> Result<()> {
    let elsewhere = tempfile::tempdir()?;
    let output = elsewhere.path().join("start").display().to_string();
    for model in [OURO, NANBEIGE] {
        let norm = format!("`{model}` with a norm after every cycle");
        let arguments = ["convert", &folder(model), "-o", &output];
        fails(&arguments, 1, &["a plain checkpoint", &norm])?;
    }
    Ok(())
}
