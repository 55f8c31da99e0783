//! Where a prompt comes from: an argument, a file, or standard input.

use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result};

/// The prompt as text, or `None` where nothing was given.
pub fn text(file: Option<&Path>, given: Option<&str>, model_given: bool) -> Result<Option<String>> {
    let text = match (file, given) {
        (Some(path), _) => {
            let shown = path.display();
            std::fs::read_to_string(path).with_context(|| format!("`{shown}`"))?
        }
        (None, Some("-")) => read_stdin()?,
        (None, Some(text)) => return Ok(Some(text.to_string())),
        (None, None) if model_given && stdin_is_pipe_or_file() => read_stdin()?,
        (None, None) => return Ok(None),
    };
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Some(text.strip_suffix('\r').unwrap_or(text).to_string()))
}

fn read_stdin() -> Result<String> {
    let mut text = String::new();
    io::stdin()
        .read_to_string(&mut text)
        .context("standard input")?;
    Ok(text)
}

#[cfg(unix)]
fn stdin_is_pipe_or_file() -> bool {
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileTypeExt;
    let Ok(fd) = io::stdin().as_fd().try_clone_to_owned() else {
        return false;
    };
    let kind = File::from(fd).metadata().map(|m| m.file_type());
    kind.is_ok_and(|k| k.is_fifo() || k.is_file() || k.is_socket())
}

#[cfg(not(unix))]
fn stdin_is_pipe_or_file() -> bool {
    use std::io::IsTerminal;
    !io::stdin().is_terminal()
}
