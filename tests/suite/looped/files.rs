//! Looped models in other files: `quantize` and `pack`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use safetensors::{Dtype, SafeTensors};
use ztt_wgpu::model::quant::QUANTS;

use super::{NANBEIGE, OURO, folder};
use crate::adapter;
use crate::compare::same;
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
