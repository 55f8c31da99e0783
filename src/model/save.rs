//! Writing safetensors files.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::Path;

use safetensors::SafeTensorError;
use safetensors::tensor::TensorView;

use crate::error::{Error, Result, first_line};

/// Writes tensors one by one, beside `file`, and renames: they may be mapped from the very file.
///
/// # Errors
/// [`Error::Io`] where it cannot be written, [`Error::File`] where `file` is something else than
/// a plain file. What was there before is then as it was.
pub fn tensors(
    file: &Path,
    tensors: Vec<(String, TensorView)>,
    mut metadata: HashMap<String, String>,
) -> Result<()> {
    let existed = file.exists();
    // Without truncating, to find out early whether it can be written, and with which
    // permissions: the file that is renamed is the user's alone.
    let opened = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(file);
    let opened = opened.map_err(|e| Error::io(file, e))?;
    let meta = opened.metadata().map_err(|e| Error::io(file, e))?;
    if !meta.is_file() {
        let name = file.display().to_string();
        return Err(Error::file(name, "a plain file", "something else"));
    }
    metadata.insert("format".to_string(), "pt".to_string());
    let written = safetensors::serialize_to_file(tensors, Some(metadata), file);
    if written.is_err() && !existed {
        // It holds nothing; the error to tell is the first one.
        let _ = fs::remove_file(file);
    }
    written.map_err(|e| match e {
        SafeTensorError::IoError(e) => Error::io(file, e),
        other => {
            let name = file.display().to_string();
            Error::file(name, "tensors that can be written", first_line(other))
        }
    })?;
    fs::set_permissions(file, meta.permissions()).map_err(|e| Error::io(file, e))
}
