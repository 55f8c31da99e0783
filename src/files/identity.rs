//! Whether two paths lead to the same file.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The identity of a file, equal for all paths, links and spellings that lead to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FileId {
    /// Device and number of the file on it.
    Node(u64, u64),
    /// The path without links, where files have no numbers.
    Path(PathBuf),
}

impl FileId {
    /// Of the file that `path` leads to.
    pub fn of(path: &Path) -> io::Result<Self> {
        #[cfg(unix)]
        return Ok(Self::of_meta(&std::fs::metadata(path)?));
        #[cfg(not(unix))]
        std::fs::canonicalize(path).map(Self::Path)
    }

    /// The identity of the file that an output named `path` is written to: `-` is standard output.
    pub fn of_output(path: &Path) -> io::Result<Self> {
        #[cfg(unix)]
        if path == Path::new("-") {
            use std::os::fd::AsFd;
            let stdout = io::stdout().as_fd().try_clone_to_owned()?;
            return Self::of_open(&File::from(stdout), path);
        }
        Self::of(path)
    }

    /// Of a file that was opened by `path`.
    pub fn of_open(file: &File, path: &Path) -> io::Result<Self> {
        #[cfg(unix)]
        {
            let _ = path;
            Ok(Self::of_meta(&file.metadata()?))
        }
        #[cfg(not(unix))]
        {
            let _ = file;
            Self::of(path)
        }
    }

    #[cfg(unix)]
    fn of_meta(meta: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self::Node(meta.dev(), meta.ino())
    }
}
