//! The PyTorch example: its module against the golden data, and a model that it trains.

use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::fixtures::{path, trial};
use crate::program::succeed;

/// The Python with torch, safetensors and tokenizers; `python3` where it is not set.
const VARIABLE: &str = "ZTT_PYTHON";

pub fn trials() -> Vec<Trial> {
    let missing = missing_modules();
    type Test = (&'static str, fn() -> Result<()>);
    let tests: [Test; 2] = [
        ("training::the_module_equals_the_golden_data", module),
        ("training::a_trained_model_runs", train),
    ];
    let of = |(name, run)| match &missing {
        None => trial(name, run),
        Some(reason) => trial(name, run)
            .with_kind(reason.clone())
            .with_ignored_flag(true),
    };
    tests.into_iter().map(of).collect()
}

/// Python in the example's folder.
fn python(arguments: &[&str]) -> Command {
    let python = std::env::var(VARIABLE).unwrap_or_else(|_| "python3".to_string());
    let mut command = Command::new(python);
    command
        .args(arguments)
        .current_dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/training"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Why the tests cannot run, if they cannot.
fn missing_modules() -> Option<String> {
    let look = "import importlib.util as u\n\
                print(*[m for m in ('torch', 'safetensors', 'tokenizers') if not u.find_spec(m)])";
    match python(&["-c", look]).output() {
        Ok(output) if output.status.success() => {
            let missing = String::from_utf8_lossy(&output.stdout).trim().to_string();
            (!missing.is_empty()).then(|| format!("Python without {missing}"))
        }
        _ => Some("no Python".to_string()),
    }
}

fn succeeded(output: &Output) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", output.status);
    Ok(())
}

fn module() -> Result<()> {
    succeeded(&python(&["-m", "unittest"]).output()?)
}

/// A few steps on the text of the fixtures; the program reads what comes out.
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
    succeeded(&python(&[&arguments[..], &shape].concat()).output()?)?;
    let described = succeed(&["inspect", &out])?;
    ensure!(described.contains("pool         8 rows"), "{described}");
    let written = succeed(&["run", &out, "Call me", "-n", "4", "--adapter", "cpu"])?;
    ensure!(!written.trim().is_empty(), "nothing was written");
    Ok(())
}
