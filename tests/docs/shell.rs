//! A shell that is given one command after the other.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::program::environment;

/// Stands before the status of a command.
const MARK: char = '\u{1e}';

/// A server says this once it answers.
const READY: &str = "listening on ";

/// Only a failing test waits as long for a command: some build the whole program.
const PATIENCE: Duration = Duration::from_secs(3000);

/// The command `bash` with the program and Python under the names that documents use.
pub fn bash(place: &Path, folder: &Path) -> Result<Command> {
    let programs = folder.join(".programs");
    std::fs::create_dir(&programs)?;
    super::link(
        Path::new(env!("CARGO_BIN_EXE_ztt-wgpu")),
        &programs.join("ztt-wgpu"),
    )?;
    let python = std::env::var("ZTT_PYTHON").unwrap_or_else(|_| "python3".to_string());
    let script = format!("#!/bin/sh\nexec '{python}' \"$@\"\n");
    let file = programs.join("python");
    std::fs::write(&file, script)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755))?;
    }
    let mut command = Command::new("bash");
    environment(|variable, value| match value {
        Some(value) => drop(command.env(variable, value)),
        None => drop(command.env_remove(variable)),
    });
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .args(["--noprofile", "--norc"])
        .current_dir(place)
        .env("PATH", format!("{}:{path}", programs.display()))
        // What cargo installs is gone with the folder.
        .env("CARGO_INSTALL_ROOT", folder.join(".installed"));
    Ok(command)
}

/// A shell; what it has started ends with it.
pub struct Shell {
    child: Child,
    input: ChildStdin,
    output: Receiver<Vec<u8>>,
}

impl Shell {
    pub fn open(place: &Path, folder: &Path) -> Result<Self> {
        let mut command = bash(place, folder)?;
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let (mut reader, writer) = std::io::pipe()?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .spawn()
            .context("bash")?;
        drop(command);
        let (sender, output) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut bytes) {
                if sender.send(bytes[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        let input = child.stdin.take().context("no standard input")?;
        Ok(Self {
            child,
            input,
            output,
        })
    }

    /// The status of `command`, and all that it printed. One in the background must be a server,
    /// which is waited for until it listens.
    pub fn run(&mut self, command: &str) -> Result<(i32, String)> {
        let is_server = command.ends_with('&');
        let mark = r"printf '\n\x1e%d\n' $?";
        writeln!(self.input, "{{ {command}\n}} < /dev/null; {mark}")?;
        let until = Instant::now() + PATIENCE;
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&bytes);
            let status = text.split_once(MARK).and_then(|(_, rest)| {
                let (status, rest) = rest.split_once('\n')?;
                Some((status.parse::<i32>().ok()?, rest))
            });
            if let Some((status, rest)) = status {
                let before = text.split(MARK).next().unwrap_or_default();
                let before = before.strip_suffix('\n').unwrap_or(before);
                let all = format!("{before}{rest}");
                let listens = all.split_once(READY).is_some_and(|(_, s)| s.contains('\n'));
                if !is_server || listens {
                    return Ok((status, all));
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            let next = self.output.recv_timeout(left);
            ensure!(next.is_ok(), "`{command}` did not end: {text}");
            drop(text);
            bytes.extend(next?);
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.child.wait();
    }
}
