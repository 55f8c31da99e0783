//! One safetensors file: its header, and the bytes of its tensors where they are asked for.
//!
//! Files are read piece by piece and not mapped into memory: a mapped file that another program
//! cuts short ends this one with a signal, and a read of it is an error like any other.

use std::fs::{File, Metadata as FileMetadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::SafeTensorError;
use safetensors::tensor::{Metadata, TensorInfo};

use super::tensor::Bytes;
use crate::error::{Error, Result, first_line};
use crate::files::{self, FileId};

/// Bytes of the header's length, with which every safetensors file begins.
const LENGTH_BYTES: usize = 8;

/// The longest header, as the library that writes these files has it.
const MOST_HEADER_BYTES: u64 = 100_000_000;

/// A safetensors file with its header read.
pub(super) struct Shard {
    /// How errors name the file.
    pub name: String,
    pub header: Metadata,
    source: Source,
    data_start: u64,
}

enum Source {
    File(Box<Opened>),
    /// Memory of this program alone.
    Mapped(Mmap),
    Embedded(&'static [u8]),
    Owned(Vec<u8>),
}

/// A file that is read, as it was when it was opened.
struct Opened {
    file: File,
    path: PathBuf,
    meta: FileMetadata,
}

impl Source {
    fn len(&self) -> u64 {
        let bytes = match self {
            Source::File(opened) => return opened.meta.len(),
            Source::Mapped(map) => map.len(),
            Source::Embedded(bytes) => bytes.len(),
            Source::Owned(bytes) => bytes.len(),
        };
        bytes as u64
    }

    /// The `n` bytes from `at` on, which are inside the file as it was when it was opened.
    fn read(&self, at: u64, n: usize) -> Result<Bytes<'_>> {
        let range = at as usize..at as usize + n;
        Ok(match self {
            Source::File(opened) => Bytes::Owned(opened.read(at, n)?),
            Source::Mapped(map) => Bytes::Borrowed(&map[range]),
            Source::Embedded(bytes) => Bytes::Borrowed(&bytes[range]),
            Source::Owned(bytes) => Bytes::Borrowed(&bytes[range]),
        })
    }
}

impl Opened {
    fn read(&self, at: u64, n: usize) -> Result<Vec<u8>> {
        files::piece(&self.file, at, n).map_err(|e| match e.kind() {
            ErrorKind::UnexpectedEof => self.changed("a shorter one"),
            _ => Error::io(&self.path, e),
        })
    }

    fn changed(&self, found: &str) -> Error {
        let expected = "a file that does not change while it is read";
        Error::file(self.path.display().to_string(), expected, found)
    }
}

impl Shard {
    /// Opens a file and reads its header.
    pub fn open(path: &Path) -> Result<Self> {
        let (file, meta) = files::open(path, "a safetensors file")?;
        let name = path.display().to_string();
        if meta.len() == 0 {
            return Err(Error::file(name, "a safetensors file", "an empty file"));
        }
        let path = path.to_path_buf();
        Self::parse(name, Source::File(Box::new(Opened { file, path, meta })))
    }

    /// Memory with nothing behind it; `name` stands for it in errors.
    pub fn mapped(name: &str, map: Mmap) -> Result<Self> {
        Self::parse(name.to_string(), Source::Mapped(map))
    }

    /// A file that is part of the program.
    pub fn embedded(name: &str, bytes: &'static [u8]) -> Result<Self> {
        Self::parse(name.to_string(), Source::Embedded(bytes))
    }

    /// A file in memory; `name` stands for it in errors.
    pub fn in_memory(name: &str, bytes: Vec<u8>) -> Result<Self> {
        Self::parse(name.to_string(), Source::Owned(bytes))
    }

    fn parse(name: String, source: Source) -> Result<Self> {
        let length = header_length(&name, &source)?;
        let bytes = source.read(LENGTH_BYTES as u64, length)?;
        let header: Metadata = serde_json::from_slice(&bytes).map_err(|e| {
            let e = SafeTensorError::InvalidHeaderDeserialization(e);
            Error::file(&name, "a valid safetensors header", first_line(e))
        })?;
        drop(bytes);
        let data_start = (LENGTH_BYTES + length) as u64;
        if data_start.checked_add(header.data_len() as u64) != Some(source.len()) {
            let found = format!(
                "a file of {} bytes that is cut short or has bytes left over",
                source.len()
            );
            let expected = "tensors that cover the file exactly";
            return Err(Error::file(name, expected, found));
        }
        Ok(Self {
            name,
            header,
            source,
            data_start,
        })
    }

    /// `n` bytes of a tensor from its byte `start` on, or the bytes that are left of it.
    pub fn piece(&self, info: &TensorInfo, start: usize, n: usize) -> Result<Bytes<'_>> {
        let (first, end) = info.data_offsets;
        let first = (first + start).min(end);
        self.source
            .read(self.data_start + first as u64, n.min(end - first))
    }

    /// Refuses a file that was written to since it was opened: the bytes read may be a part of each
    /// state.
    pub fn check_unchanged(&self) -> Result<()> {
        let Source::File(opened) = &self.source else {
            return Ok(());
        };
        let now = opened.file.metadata();
        let now = now.map_err(|e| Error::io(&opened.path, e))?;
        let written = |meta: &FileMetadata| (meta.len(), meta.modified().ok());
        match written(&now) == written(&opened.meta) {
            true => Ok(()),
            false => Err(opened.changed("one that was written to")),
        }
    }

    /// Which file it is; `None` for memory.
    pub fn id(&self) -> Option<FileId> {
        match &self.source {
            Source::File(opened) => FileId::of_open(&opened.file, &opened.path).ok(),
            _ => None,
        }
    }
}

/// The length of the header, which lies inside the file.
fn header_length(name: &str, source: &Source) -> Result<usize> {
    const POINTER: &[u8] = b"version https://git-lfs";
    let n_bytes = source.len();
    let start = source.read(0, n_bytes.min(POINTER.len() as u64) as usize)?;
    if start.starts_with(POINTER) {
        let found = "a Git LFS pointer: fetch the weights with `git lfs pull`";
        return Err(Error::file(name, "a safetensors file", found));
    }
    let Some(length) = start.first_chunk::<LENGTH_BYTES>() else {
        let expected = "a safetensors file of at least 8 bytes";
        return Err(Error::file(name, expected, format!("{n_bytes} bytes")));
    };
    let length = u64::from_le_bytes(*length);
    if length > (n_bytes - LENGTH_BYTES as u64).min(MOST_HEADER_BYTES) {
        let expected = "a safetensors header that ends inside the file";
        let found = format!("a header of {length} bytes in a file of {n_bytes} bytes");
        return Err(Error::file(name, expected, found));
    }
    Ok(length as usize)
}
