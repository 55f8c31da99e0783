//! Writing a file: under a temporary name beside it, which is exchanged for its own when all of it
//! is on the disk. Nobody ever sees half of it, and the file that was there before stays until
//! then.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::kind::{is_sink, not_plain};
use super::unfinished;
use crate::error::{Error, Result};

/// A file that is being written. Unless [`NewFile::finish`] is called, nothing is left of it.
pub struct NewFile {
    /// How errors name it.
    name: PathBuf,
    out: Out,
}

enum Out {
    /// Written as it is: standard output, a pipe, a device.
    Direct(Box<dyn Write>),
    /// Will be renamed.
    Beside {
        file: File,
        temporary: PathBuf,
        target: PathBuf,
    },
}

/// The target of a path that is to be written to.
enum Target {
    Stdout,
    Sink(PathBuf),
    /// The path of a plain file without links, and the metadata of the file that is there now.
    Plain(PathBuf, Option<Metadata>),
}

impl NewFile {
    /// Begins to write `path`: a plain file, new or not; `-` for standard output; a pipe or a
    /// device. A link is followed, and a file that is replaced hands on its permissions and, where
    /// that is allowed, its owner.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be written, [`Error::File`] where it is of another kind, or
    /// another program is writing it.
    pub fn create(path: &Path) -> Result<Self> {
        let out = match target(path)? {
            Target::Stdout => Out::Direct(Box::new(io::stdout())),
            Target::Sink(path) => {
                let file = OpenOptions::new().write(true).open(&path);
                Out::Direct(Box::new(file.map_err(|e| Error::io(&path, e))?))
            }
            Target::Plain(target, before) => {
                let (file, temporary) = temporary(path, &target)?;
                let out = Out::Beside {
                    file,
                    temporary,
                    target,
                };
                let new = Self {
                    name: path.to_path_buf(),
                    out,
                };
                if let (Out::Beside { file, .. }, Some(before)) = (&new.out, before) {
                    take_over(file, &before).map_err(|e| Error::io(path, e))?;
                }
                return Ok(new);
            }
        };
        Ok(Self {
            name: path.to_path_buf(),
            out,
        })
    }

    /// How errors name the file.
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// Gives the file its name, once all of it is on the disk.
    pub fn finish(mut self) -> Result<()> {
        let finished = match &mut self.out {
            Out::Direct(out) => out.flush(),
            Out::Beside {
                file,
                temporary,
                target,
            } => file.sync_all().and_then(|()| {
                let mut unfinished = unfinished::lock();
                fs::rename(&*temporary, &*target)?;
                unfinished.retain(|path| path != temporary);
                Ok(())
            }),
        };
        finished.map_err(|e| Error::io(&self.name, e))
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.out {
            Out::Direct(out) => out.write(bytes),
            Out::Beside { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.out {
            Out::Direct(out) => out.flush(),
            Out::Beside { file, .. } => file.flush(),
        }
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        let Out::Beside { temporary, .. } = &self.out else {
            return;
        };
        let is_unfinished = unfinished::lock().contains(temporary);
        if is_unfinished {
            unfinished::remove(temporary);
        }
    }
}

/// Writes a whole file.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut new = NewFile::create(path)?;
    new.write_all(bytes).map_err(|e| Error::io(path, e))?;
    new.finish()
}

/// Refuses a file that cannot be written, before there is anything to write.
pub fn check(path: &Path) -> Result<()> {
    match target(path)? {
        // Opening a pipe would wait for the one who reads it.
        Target::Stdout | Target::Sink(_) => Ok(()),
        Target::Plain(..) => NewFile::create(path).map(drop),
    }
}

/// Where a plain file that is written as `path` will be, with links and other spellings resolved.
pub fn destination(path: &Path) -> Option<PathBuf> {
    let Ok(Target::Plain(target, _)) = target(path) else {
        return None;
    };
    let folder = fs::canonicalize(folder(&target)).ok()?;
    Some(folder.join(target.file_name()?))
}

/// The target of `path`, links followed: a rename to the path itself would replace a link by a
/// file.
fn target(path: &Path) -> Result<Target> {
    const MOST_LINKS: usize = 40;
    let stdout = ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];
    let mut target = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        if stdout.iter().any(|name| target == Path::new(name)) {
            return Ok(Target::Stdout);
        }
        if is_descriptor(&target) {
            return Ok(Target::Sink(target));
        }
        match fs::symlink_metadata(&target) {
            Ok(meta) if meta.is_symlink() => {
                let link = fs::read_link(&target).map_err(|e| Error::io(path, e))?;
                target = folder(&target).join(link);
            }
            Ok(meta) if is_sink(meta.file_type()) => return Ok(Target::Sink(target)),
            Ok(meta) => {
                if let Some(found) = not_plain(meta.file_type()) {
                    let name = path.display().to_string();
                    return Err(Error::file(name, "a plain file", found));
                }
                // A file that may not be written is not to be replaced either.
                let opened = OpenOptions::new().write(true).open(&target);
                opened.map_err(|e| Error::io(path, e))?;
                return Ok(Target::Plain(target, Some(meta)));
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {
                // A name that can only be one of a folder.
                let is_name = matches!(target.components().next_back(), Some(Component::Normal(_)))
                    && !target.as_os_str().as_encoded_bytes().ends_with(b"/");
                return match is_name {
                    true => Ok(Target::Plain(target, None)),
                    false => Err(Error::io(path, e)),
                };
            }
            Err(e) => return Err(Error::io(path, e)),
        }
    }
    Err(Error::io(path, io::Error::other("too many symbolic links")))
}

/// Whether the path is that of something that is open already, such as `/dev/stderr`: where that
/// is a plain file, whoever opened it wants it written and not replaced.
fn is_descriptor(path: &Path) -> bool {
    let real = || fs::canonicalize(folder(path)).unwrap_or_default();
    cfg!(unix) && (path == Path::new("/dev/stderr") || real().starts_with("/proc"))
}

/// The folder that `path` lies in.
pub(super) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

/// A new temporary file beside `target`, locked as long as it is open: a locked one is being
/// written by another program, and one that is not was left by a program that was killed.
fn temporary(name: &Path, target: &Path) -> Result<(File, PathBuf)> {
    const TRIES: usize = 20;
    let temporary = folder(target).join(temporary_name(target));
    let failed = |e| Error::io(name, e);
    let taken = || {
        let found = format!(
            "one that another program is writing, as `{}`",
            temporary.display()
        );
        Error::file(
            name.display().to_string(),
            "a file that nobody else writes",
            found,
        )
    };
    for _ in 0..TRIES {
        let mut unfinished = unfinished::lock();
        match OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary)
        {
            Ok(file) => match file.try_lock() {
                Err(TryLockError::WouldBlock) => {}
                // Some file systems have no locks.
                Ok(()) | Err(TryLockError::Error(_)) if is_at(&file, &temporary) => {
                    unfinished.push(temporary.clone());
                    return Ok((file, temporary));
                }
                Ok(()) | Err(TryLockError::Error(_)) => {}
            },
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                if unfinished.contains(&temporary) {
                    return Err(taken());
                }
                match left_behind(&temporary) {
                    Ok(true) => fs::remove_file(&temporary).map_err(failed)?,
                    Ok(false) => return Err(taken()),
                    Err(e) if e.kind() == ErrorKind::NotFound => {}
                    Err(e) => return Err(Error::io(&temporary, e)),
                }
            }
            Err(e) => return Err(failed(e)),
        }
        drop(unfinished);
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(taken())
}

/// A name that tells of its purpose, and is not longer than names may be.
fn temporary_name(target: &Path) -> std::ffi::OsString {
    const MOST_BYTES: usize = 200;
    let name = target.file_name().unwrap_or_default();
    let mut temporary = std::ffi::OsString::from(".");
    match name.len() <= MOST_BYTES {
        true => temporary.push(name),
        false => {
            use std::hash::{DefaultHasher, Hash, Hasher};
            let mut hasher = DefaultHasher::new();
            name.hash(&mut hasher);
            temporary.push(format!("{:016x}", hasher.finish()));
        }
    }
    temporary.push(".ztt-wgpu-unfinished");
    temporary
}

/// Whether a temporary file is one that nobody writes any more.
fn left_behind(temporary: &Path) -> io::Result<bool> {
    let meta = fs::symlink_metadata(temporary)?;
    if !meta.is_file() {
        return Err(io::Error::other("in the way of a temporary file"));
    }
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    }
    let file = options.open(temporary)?;
    match file.try_lock() {
        Ok(()) => Ok(is_at(&file, temporary)),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

/// Whether `path` still leads to `file`.
fn is_at(file: &File, path: &Path) -> bool {
    use super::FileId;
    let ids = FileId::of_open(file, path).and_then(|id| Ok((id, FileId::of(path)?)));
    ids.is_ok_and(|(open, there)| open == there)
}

/// Gives a new file the permissions of the one that it replaces, and its owner if that is allowed.
fn take_over(file: &File, before: &Metadata) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (before.uid(), before.gid()) {
            // Without the right to change owners this fails, and the new file keeps its own.
            let _ = std::os::unix::fs::fchown(file, Some(before.uid()), Some(before.gid()));
        }
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Other contents are not to run as somebody else.
        let mode = before.permissions().mode() & 0o777;
        file.set_permissions(std::fs::Permissions::from_mode(mode))
    }
    #[cfg(not(unix))]
    file.set_permissions(before.permissions())
}
