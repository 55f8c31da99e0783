//! Writing a folder of files: beside each other in a temporary folder within it, from where they
//! are moved when all of them are on the disk.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::is_there;
use super::unfinished::{self, TEMPORARY};
use crate::error::{Error, Result};

/// Whether a folder that is there already may be filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// If it is empty.
    Empty,
    /// Never.
    Refused,
}

/// A folder that is being written. Unless [`NewFolder::finish`] is called, nothing is left of it.
pub struct NewFolder {
    path: PathBuf,
    temporary: PathBuf,
    /// The folder and those round it that were not there before, the outermost first.
    new: Vec<PathBuf>,
    /// Where the files that are written will lie.
    files: Vec<PathBuf>,
    /// The folder itself, locked as long as it is written.
    _lock: Option<File>,
}

impl NewFolder {
    /// Begins to fill `path`.
    ///
    /// # Errors
    /// [`Error::File`] where there is something that is not to be added to, or another program is
    /// filling the folder; [`Error::Io`] where it cannot be made.
    pub fn create(path: &Path, existing: Existing) -> Result<Self> {
        let failed = |e| Error::io(path, e);
        let refused = |expected: &str, found: &str| {
            Err(Error::file(path.display().to_string(), expected, found))
        };
        let mut unfinished = unfinished::lock();
        let missing = path.ancestors().take_while(|folder| !is_there(folder));
        let mut new: Vec<PathBuf> = missing.map(Path::to_path_buf).collect();
        new.retain(|folder| !folder.as_os_str().is_empty());
        new.reverse();
        let made = match existing {
            Existing::Empty => fs::create_dir_all(path),
            Existing::Refused => fs::create_dir(path),
        };
        match made {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(failed(e)),
            _ => {}
        }
        let expected = match existing {
            Existing::Empty => "a new or empty folder",
            Existing::Refused => "a folder that does not exist yet",
        };
        if !fs::metadata(path).map_err(failed)?.is_dir() {
            return refused(expected, "a file");
        }
        let lock = match lock(path) {
            Ok(lock) => lock,
            Err(TryLockError::WouldBlock) => {
                return refused(expected, "one that another program is writing");
            }
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        };
        let temporary = path.join(TEMPORARY);
        if new.is_empty() {
            let entries = fs::read_dir(path).map_err(failed)?;
            let names = entries.map(|entry| Ok(entry?.file_name()));
            let names: Vec<_> = names.collect::<io::Result<_>>().map_err(failed)?;
            // Left by a program that was killed: the folder is locked, so nobody else is at work.
            let (left, others): (Vec<_>, Vec<_>) = names
                .iter()
                .partition(|name| *name == OsStr::new(TEMPORARY));
            if !others.is_empty() {
                let found = match existing {
                    Existing::Empty => "files in it",
                    Existing::Refused => "one that does",
                };
                return refused(expected, found);
            }
            if left.is_empty() && existing == Existing::Refused {
                return refused(expected, "one that does");
            }
            if !left.is_empty() {
                fs::remove_dir_all(&temporary).map_err(failed)?;
            }
        }
        unfinished.extend(new.iter().cloned());
        unfinished.push(temporary.clone());
        drop(unfinished);
        let folder = Self {
            path: path.to_path_buf(),
            temporary,
            new,
            files: Vec::new(),
            _lock: lock,
        };
        fs::create_dir(&folder.temporary).map_err(failed)?;
        Ok(folder)
    }

    /// Writes the file `name` with the bytes that `fill` writes; errors name it as it will be
    /// called.
    pub fn file(
        &mut self,
        name: &str,
        fill: impl FnOnce(&mut dyn Write, &Path) -> Result<()>,
    ) -> Result<()> {
        let shown = self.path.join(name);
        let failed = |e| Error::io(&shown, e);
        let mut file = {
            let _guard = unfinished::lock();
            File::create_new(self.temporary.join(name)).map_err(failed)?
        };
        fill(&mut file, &shown)?;
        file.sync_all().map_err(failed)?;
        self.files.push(shown);
        Ok(())
    }

    /// Moves the files to their place.
    pub fn finish(mut self) -> Result<()> {
        let mut unfinished = unfinished::lock();
        let failed = |e| Error::io(&self.path, e);
        for target in &self.files {
            let name = target.file_name().unwrap_or_default();
            fs::rename(self.temporary.join(name), target).map_err(failed)?;
            unfinished.push(target.clone());
        }
        fs::remove_dir(&self.temporary).map_err(failed)?;
        let mine: Vec<PathBuf> = self.paths().cloned().collect();
        unfinished.retain(|path| !mine.contains(path));
        self.new.clear();
        self.files.clear();
        Ok(())
    }

    /// All that is removed when the folder is not finished, each after the one that it lies in.
    fn paths(&self) -> impl DoubleEndedIterator<Item = &PathBuf> {
        let files = self.files.iter();
        self.new.iter().chain([&self.temporary]).chain(files)
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        let unfinished: Vec<PathBuf> = unfinished::lock().clone();
        let mine = self.paths().rev().filter(|path| unfinished.contains(path));
        mine.for_each(|path| unfinished::remove(path));
    }
}

/// Locks a folder, where folders can be locked.
#[cfg(unix)]
fn lock(path: &Path) -> std::result::Result<Option<File>, TryLockError> {
    let folder = File::open(path).map_err(TryLockError::Error)?;
    match folder.try_lock() {
        Ok(()) => Ok(Some(folder)),
        Err(TryLockError::WouldBlock) => Err(TryLockError::WouldBlock),
        // Some file systems have no locks.
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// Elsewhere the temporary folder, of which there can be only one, is what others stop at.
#[cfg(not(unix))]
fn lock(_: &Path) -> std::result::Result<Option<File>, TryLockError> {
    Ok(None)
}
