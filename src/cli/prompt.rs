//! Where a prompt comes from: an argument, a file, or standard input.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Bytes that a text may have: an input without an end is not to fill the memory.
const MAX_TEXT: u64 = 256 << 20;

/// The prompt as text, or `None` where nothing was given.
pub fn text(file: Option<&Path>, given: Option<&str>, model_given: bool) -> Result<Option<String>> {
    let text = match (file, given) {
        (Some(path), _) => {
            let name = format!("`{}`", path.display());
            read(&name, File::open(path).with_context(|| name.clone())?)?
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
    read("standard input", io::stdin().lock())
}

/// The whole text that `input`, called `name`, has.
fn read(name: &str, input: impl Read) -> Result<String> {
    let mut text = Vec::new();
    let n = input.take(MAX_TEXT + 1).read_to_end(&mut text);
    if n.with_context(|| name.to_string())? as u64 > MAX_TEXT {
        bail!("{name}: expected a text of at most {MAX_TEXT} bytes, found a longer one");
    }
    String::from_utf8(text).or_else(|e| {
        let at = e.utf8_error().valid_up_to();
        let byte = e.as_bytes().get(at).copied().unwrap_or_default();
        bail!("{name}: expected text in UTF-8, found the byte 0x{byte:02x} at position {at}")
    })
}

#[cfg(unix)]
fn stdin_is_pipe_or_file() -> bool {
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
