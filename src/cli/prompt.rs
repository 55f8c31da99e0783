//! Where a prompt comes from: an argument, a file, or standard input.

use std::io;
use std::path::Path;

use anyhow::Result;

use crate::files::{self, MIB};

/// The longest text that is read, of a file or of standard input.
const LIMIT: u64 = 256 * MIB;

/// The prompt as text, or `None` where nothing was given.
pub fn text(file: Option<&Path>, given: Option<&str>, model_given: bool) -> Result<Option<String>> {
    let text = match (file, given) {
        (Some(path), _) => files::user_text(path, LIMIT)?,
        (None, Some("-")) => read_stdin()?,
        (None, Some(text)) => return Ok(Some(text.to_string())),
        (None, None) if model_given && stdin_is_pipe_or_file() => read_stdin()?,
        (None, None) => return Ok(None),
    };
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Some(text.strip_suffix('\r').unwrap_or(text).to_string()))
}

fn read_stdin() -> Result<String> {
    let stdin = io::stdin().lock();
    Ok(files::text_of_stream(stdin, "standard input", LIMIT)?)
}

#[cfg(unix)]
fn stdin_is_pipe_or_file() -> bool {
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileTypeExt;
    let Ok(fd) = io::stdin().as_fd().try_clone_to_owned() else {
        return false;
    };
    let kind = std::fs::File::from(fd).metadata().map(|m| m.file_type());
    kind.is_ok_and(|k| k.is_fifo() || k.is_file() || k.is_socket())
}

#[cfg(not(unix))]
fn stdin_is_pipe_or_file() -> bool {
    use std::io::IsTerminal;
    !io::stdin().is_terminal()
}
