//! A command at a terminal, into which the lines after `> ` are typed.

use std::path::Path;

use anyhow::Result;

/// All that the terminal shows while `command` runs and the lines of `script` that begin with `> `
/// are typed, each after a prompt.
#[cfg(unix)]
pub fn run(command: &str, script: &str, place: &Path, folder: &Path) -> Result<String> {
    use rexpect::session::{Options, spawn_with_options};

    let mut shell = super::shell::bash(place, folder)?;
    shell.args(["-c", command]).env("TERM", "dumb");
    let options = Options::new()
        .timeout_ms(Some(120_000))
        .strip_ansi_escape_codes(true);
    let mut session = spawn_with_options(shell, options)?;
    let mut shown = String::new();
    for line in script.lines().filter_map(|line| line.strip_prefix("> ")) {
        shown += &session.exp_string("> ")?;
        shown += &format!("> {line}\n");
        // The terminal echoes nothing.
        session.send_line(line)?;
    }
    shown += &session.exp_eof()?;
    Ok(shown)
}

#[cfg(not(unix))]
pub fn run(_: &str, _: &str, _: &Path, _: &Path) -> Result<String> {
    anyhow::bail!("terminals are for Unix here")
}
