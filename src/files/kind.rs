//! The kinds of file that a path may lead to besides a plain one.

use std::fs::{FileType, Metadata};

/// How messages name a file that is not a plain one; `None` for one that is.
pub fn not_plain(kind: FileType) -> Option<&'static str> {
    if kind.is_file() {
        return None;
    }
    if kind.is_dir() {
        return Some("a folder");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let kinds = [
            (kind.is_fifo(), "a named pipe"),
            (kind.is_socket(), "a socket"),
            (kind.is_char_device(), "a character device"),
            (kind.is_block_device(), "a block device"),
        ];
        if let Some((_, name)) = kinds.into_iter().find(|(is, _)| *is) {
            return Some(name);
        }
    }
    Some("something that is not a file")
}

/// Whether it is a pipe, a terminal or the null device, which a user may well give in the place of
/// a file of text. Other devices are not, since some of them never end.
#[cfg(unix)]
pub fn is_stream(meta: &Metadata) -> bool {
    use std::io::IsTerminal;
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let kind = meta.file_type();
    if kind.is_fifo() {
        return true;
    }
    let is = |path: &str| std::fs::metadata(path).is_ok_and(|other| other.rdev() == meta.rdev());
    let is_terminal = || std::io::stdin().is_terminal() && is("/dev/stdin");
    kind.is_char_device() && (is("/dev/null") || is("/dev/tty") || is_terminal())
}

#[cfg(not(unix))]
pub fn is_stream(_: &Metadata) -> bool {
    false
}

/// Whether data is written into it as it is, instead of replacing it.
#[cfg(unix)]
pub fn is_sink(kind: FileType) -> bool {
    use std::os::unix::fs::FileTypeExt;
    kind.is_fifo() || kind.is_char_device()
}

#[cfg(not(unix))]
pub fn is_sink(_: FileType) -> bool {
    false
}
