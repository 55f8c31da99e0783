//! Tests that need a Python with some modules.

use std::process::Command;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

/// Names the Python; `python3` where it is not set.
const VARIABLE: &str = "ZTT_PYTHON";

/// Python with these arguments.
pub fn python(arguments: &[&str]) -> Command {
    let python = std::env::var(VARIABLE).unwrap_or_else(|_| "python3".to_string());
    let mut command = Command::new(python);
    command.args(arguments).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Runs a program, which must succeed.
pub fn succeeds(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", output.status);
    Ok(())
}

/// The trials, reported as ignored with the reason where Python lacks one of `modules`.
pub fn trials(modules: &[&str], trials: Vec<Trial>) -> Vec<Trial> {
    let Some(reason) = missing(modules) else {
        return trials;
    };
    let ignored = |trial: Trial| trial.with_kind(reason.clone()).with_ignored_flag(true);
    trials.into_iter().map(ignored).collect()
}

/// Why the tests cannot run, if they cannot.
fn missing(modules: &[&str]) -> Option<String> {
    let look = "import importlib.util as u, sys\n\
                print(*[m for m in sys.argv[1:] if not u.find_spec(m)])";
    match python(&[&["-c", look], modules].concat()).output() {
        Ok(output) if output.status.success() => {
            let missing = String::from_utf8_lossy(&output.stdout).trim().to_string();
            (!missing.is_empty()).then(|| format!("Python without {missing}"))
        }
        _ => Some("no Python".to_string()),
    }
}
