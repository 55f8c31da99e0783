//! The PyTorch example: its module against the golden data, and a model that it trains.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::fixtures::{path, trial};
use crate::program::succeed;
use crate::python;

pub fn trials() -> Vec<Trial> {
    let modules = ["torch", "safetensors", "tokenizers"];
    python::trials(
        &modules,
        vec![
            trial("training::the_module_equals_the_golden_data", module),
            trial("training::a_trained_model_runs", train),
        ],
    )
}

/// Python in the example's folder.
fn succeeds(arguments: &[&str]) -> Result<()> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/training");
    python::succeeds(python::python(arguments).current_dir(folder))
}

fn module() -> Result<()> {
    succeeds(&["-m", "unittest"])
}

/// A few steps of training on the text of the fixtures; the program reads the trained model.
fn train() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("model").display().to_string();
    let text = path("classics-val.txt").display().to_string();
    let shape = [
        "--hidden",
        "32",
        "--heads",
        "2",
        "--vocab",
        "300",
        "--context",
        "32",
    ];
    let arguments = ["train.py", "--text", &text, "--out", &out, "--steps", "3"];
    succeeds(&[&arguments[..], &shape].concat())?;
    let described = succeed(&["inspect", &out])?;
    ensure!(described.contains("pool         8 rows"), "{described}");
    let written = succeed(&["run", &out, "Call me", "-n", "4", "--adapter", "cpu"])?;
    ensure!(!written.trim().is_empty(), "nothing was written");
    Ok(())
}
