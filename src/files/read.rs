//! Reading: plain files, and where a user may give one, pipes; nothing without a bound.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use super::kind::{is_stream, not_plain};
use crate::error::{Error, Result};

/// Bytes of a mebibyte.
pub const MIB: u64 = 1 << 20;

/// Whether something is there under that name, be it a link that leads nowhere: it is to be
/// complained of, not to be passed over.
pub fn is_there(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Ok(_) => true,
        Err(e) => !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    }
}

/// Opens a plain file; `expected` says what it should be in the error for anything else. The
/// kind is looked at before, since opening a device may do something, and once more after, since
/// another file may have been put there; a pipe put there does not block.
pub fn open(path: &Path, expected: &str) -> Result<(File, Metadata)> {
    let refuse = |meta: &Metadata| match not_plain(meta.file_type()) {
        Some(found) => Err(Error::file(path.display().to_string(), expected, found)),
        None => Ok(()),
    };
    refuse(&metadata(path, expected)?)?;
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    }
    let file = options.open(path).map_err(|e| Error::io(path, e))?;
    let meta = file.metadata().map_err(|e| Error::io(path, e))?;
    refuse(&meta)?;
    Ok((file, meta))
}

/// The metadata of the file that `path` leads to; the error about a broken link names its target.
pub fn metadata(path: &Path, expected: &str) -> Result<Metadata> {
    fs::metadata(path).map_err(|e| match fs::read_link(path) {
        Ok(target) if e.kind() == ErrorKind::NotFound => {
            let target = target.display();
            let found = format!("a symbolic link to `{target}`, where nothing is");
            Error::file(path.display().to_string(), expected, found)
        }
        _ => Error::io(path, e),
    })
}

/// The text of a plain file of at most `limit` bytes.
pub fn text(path: &Path, limit: u64) -> Result<String> {
    text_of(path, "a plain file", limit)
}

fn text_of(path: &Path, expected: &str, limit: u64) -> Result<String> {
    let (file, meta) = open(path, expected)?;
    let name = path.display().to_string();
    if meta.len() > limit {
        return Err(too_long(&name, limit, format!("{} bytes", meta.len())));
    }
    text_of_stream(file, &name, limit)
}

/// The text of a file that a user names: a plain one, a pipe, or a terminal.
pub fn user_text(path: &Path, limit: u64) -> Result<String> {
    let expected = "a file or a pipe";
    if !is_stream(&metadata(path, expected)?) {
        return text_of(path, expected, limit);
    }
    // As long as nobody writes to a pipe this waits, as every program does that reads one.
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let meta = file.metadata().map_err(|e| Error::io(path, e))?;
    let name = path.display().to_string();
    match not_plain(meta.file_type()) {
        Some(found) if !is_stream(&meta) => Err(Error::file(name, expected, found)),
        _ => text_of_stream(file, &name, limit),
    }
}

/// All the text of a stream that errors call `name`, at most `limit` bytes.
pub fn text_of_stream(stream: impl Read, name: &str, limit: u64) -> Result<String> {
    let mut bytes = Vec::new();
    let failed = |cause| Error::Io {
        path: name.to_string(),
        cause,
    };
    let mut bounded = stream.take(limit + 1);
    bounded.read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(too_long(name, limit, "more".to_string()));
    }
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        let byte = e.as_bytes().get(at).copied().unwrap_or_default();
        let found = format!("the byte 0x{byte:02x} at position {at}");
        Error::file(name, "text in UTF-8", found)
    })
}

fn too_long(name: &str, limit: u64, found: String) -> Error {
    let expected = match limit % MIB {
        0 => format!("at most {} MiB", limit / MIB),
        _ => format!("at most {limit} bytes"),
    };
    Error::file(name, expected, found)
}

/// The `n` bytes of a file from offset `at` on.
///
/// # Errors
/// [`ErrorKind::UnexpectedEof`] where the file ends before, [`ErrorKind::OutOfMemory`] where there
/// is no room for them.
pub fn piece(file: &File, at: u64, n: usize) -> io::Result<Vec<u8>> {
    // Memory that cannot be had is an error here, where `vec!` ends the program; and pages that
    // `vec!` gets are zeros already.
    let room = Vec::<u8>::new().try_reserve_exact(n);
    room.map_err(|_| ErrorKind::OutOfMemory)?;
    let mut bytes = vec![0; n];
    read_exact_at(file, &mut bytes, at)?;
    Ok(bytes)
}

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, at)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            n => {
                bytes = &mut bytes[n..];
                at += n as u64;
            }
        }
    }
    Ok(())
}

/// Where there are neither, there are no files.
#[cfg(not(any(unix, windows)))]
fn read_exact_at(_: &File, _: &mut [u8], _: u64) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}
