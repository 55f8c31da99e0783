//! Unfinished files and folders, which would be left behind by a program that a signal ends.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The name of the temporary folder that the files of a folder are written to first.
pub const TEMPORARY: &str = ".ztt-wgpu-unfinished";

/// Temporary files and folders, and new folders; each after the one that it lies in.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Nothing is added, given its name or removed while this is held.
pub fn lock() -> MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes `path` and forgets it.
pub fn remove(path: &Path) {
    let mut unfinished = lock();
    unfinished.retain(|other| other != path);
    delete(path);
}

/// Removes all that is unfinished, and keeps anything from being begun or finished: the program
/// must end now.
pub fn remove_all() {
    let unfinished = lock();
    unfinished.iter().rev().for_each(|path| delete(path));
    std::mem::forget(unfinished);
}

/// Removes a file, an empty folder, or a temporary one with all that is in it. That it cannot be
/// removed is no error of its own: there is one to tell already.
fn delete(path: &Path) {
    let is_folder = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    let is_temporary = path.file_name() == Some(OsStr::new(TEMPORARY));
    let removed = match (is_folder, is_temporary) {
        (true, true) => fs::remove_dir_all(path),
        (true, false) => fs::remove_dir(path),
        (false, _) => fs::remove_file(path),
    };
    if let Err(e) = removed
        && e.kind() != ErrorKind::NotFound
    {
        tracing::debug!("{}: {e}", path.display());
    }
}
