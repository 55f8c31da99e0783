//! Running the real binary.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use assert_cmd::Command;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use tempfile::TempDir;

use crate::fixtures::path;

/// The output of a run of the program, and its status.
pub struct Run {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_ztt-wgpu");

/// The program with `arguments`, nothing on its standard input.
pub fn command(arguments: &[&str]) -> Command {
    prepared(Command::new(PROGRAM), arguments)
}

/// The program with `arguments` and at most `kb` KiB of addresses; outside Linux without a limit.
pub fn limited(arguments: &[&str], kb: usize) -> Command {
    if cfg!(not(target_os = "linux")) {
        return command(arguments);
    }
    in_shell(&format!("ulimit -v {kb}"), "", arguments)
}

/// The program in a shell that has run `before`, such as `ulimit -n 7`, and with its streams
/// redirected as `redirections` say, such as `2>&-`.
pub fn in_shell(before: &str, redirections: &str, arguments: &[&str]) -> Command {
    let script = format!("{before}\nexec \"$0\" \"$@\" {redirections}");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script, PROGRAM]);
    prepared(shell, arguments)
}

/// The program with `arguments` as a process that a test starts, stops and waits for itself.
pub fn process(arguments: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(PROGRAM);
    command.args(arguments).stdin(std::process::Stdio::null());
    environment(|variable, value| match value {
        Some(value) => drop(command.env(variable, value)),
        None => drop(command.env_remove(variable)),
    });
    command
}

/// The program with `arguments`, started by a shell that has run `before`.
pub fn shell(before: &str, arguments: &[&str]) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{before}; exec \"$0\" \"$@\""), PROGRAM]);
    prepared(shell, arguments)
}

fn prepared(mut command: Command, arguments: &[&str]) -> Command {
    command
        .args(arguments)
        // Against programs that never end, and long enough for a machine that is busy.
        .timeout(std::time::Duration::from_secs(600));
    environment(|variable, value| match value {
        Some(value) => drop(command.env(variable, value)),
        None => drop(command.env_remove(variable)),
    });
    command
}

/// Gives `set` each variable that a program under test must have, or must not have.
pub fn environment(mut set: impl FnMut(&str, Option<PathBuf>)) {
    // Mesa complains on standard error where this is unset.
    set("XDG_RUNTIME_DIR", Some(std::env::temp_dir()));
    for variable in ["RUST_LOG", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        set(variable, None);
    }
    for variable in [
        "MODEL", "CTX", "ADAPTER", "BACKEND", "KERNELS", "KV_TYPE", "API_KEY", "ALIAS",
    ] {
        set(&format!("ZTT_{variable}"), None);
    }
}

pub fn output(mut command: Command) -> Result<Run> {
    let output = command.output()?;
    Ok(Run {
        status: output.status.code().context("ended by a signal")?,
        stdout: String::from_utf8(output.stdout).context("stdout is not UTF-8")?,
        stderr: String::from_utf8(output.stderr).context("stderr is not UTF-8")?,
    })
}

pub fn run(arguments: &[&str]) -> Result<Run> {
    output(command(arguments))
}

/// Runs the program, which must succeed, and returns its standard output.
pub fn succeed(arguments: &[&str]) -> Result<String> {
    let run = run(arguments)?;
    ensure!(
        run.status == 0,
        "{arguments:?}: status {}: {}",
        run.status,
        run.stderr
    );
    Ok(run.stdout)
}

/// JSON lines.
pub fn json_lines(text: &str) -> Result<Vec<Value>> {
    text.lines()
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect()
}

/// A copy of a golden checkpoint that a test may corrupt.
pub struct Checkpoint {
    folder: TempDir,
}

impl Checkpoint {
    pub fn copy_of(case: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        for file in ["config.json", "model.safetensors"] {
            std::fs::copy(
                path("golden").join(case).join(file),
                folder.path().join(file),
            )?;
        }
        Ok(Self { folder })
    }

    pub fn empty() -> Result<Self> {
        Ok(Self {
            folder: tempfile::tempdir()?,
        })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn name(&self) -> String {
        self.folder.path().display().to_string()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Changes the config; `pointer` is a JSON pointer to an object, `value` null removes a field.
    pub fn set(self, pointer: &str, field: &str, value: Value) -> Result<Self> {
        let file = self.file("config.json");
        let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
        let object = config.pointer_mut(pointer).and_then(Value::as_object_mut);
        let object = object.context("no such object")?;
        match value.is_null() {
            true => drop(object.remove(field)),
            false => drop(object.insert(field.to_string(), value)),
        }
        std::fs::write(file, config.to_string())?;
        Ok(self)
    }

    /// Replaces the weights file by `change` of its bytes.
    pub fn weights(self, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Result<Self> {
        let file = self.file("model.safetensors");
        std::fs::write(&file, change(std::fs::read(&file)?))?;
        Ok(self)
    }

    /// Sets every value of a tensor of bf16.
    pub fn fill(self, name: &str, value: f32) -> Result<Self> {
        let file = self.file("model.safetensors");
        let bytes = std::fs::read(&file)?;
        let view = SafeTensors::deserialize(&bytes)?.tensor(name)?;
        ensure!(
            view.dtype() == Dtype::BF16,
            "`{name}` is {:?}",
            view.dtype()
        );
        let at = view.data().as_ptr() as usize - bytes.as_ptr() as usize;
        let n_values = view.data().len() / 2;
        self.weights(|mut bytes| {
            let values = half::bf16::from_f32(value).to_le_bytes().repeat(n_values);
            bytes[at..at + values.len()].copy_from_slice(&values);
            bytes
        })
    }

    /// Changes the safetensors header's entry of a tensor: the header keeps its length.
    pub fn header(self, old: &str, new: &str) -> Result<Self> {
        self.weights(|bytes| {
            let n = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
            let header = String::from_utf8_lossy(&bytes[8..8 + n]).into_owned();
            assert!(header.contains(old), "no {old} in the header");
            let mut header = header.replacen(old, new, 1).trim_end().to_string();
            while !header.len().is_multiple_of(8) {
                header.push(' ');
            }
            let mut out = (header.len() as u64).to_le_bytes().to_vec();
            out.extend(header.as_bytes());
            out.extend(&bytes[8 + n..]);
            out
        })
    }
}
