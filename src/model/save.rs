//! Writing safetensors files.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::stored::StoredTensor;
use crate::error::{Error, Result};

/// Writes a safetensors file to `out`, tensor by tensor; `file` names it in errors. The bytes
/// depend on nothing but the tensors and the metadata.
///
/// # Errors
/// [`Error::Io`] where it cannot be written, and those of reading the tensors.
pub fn tensors(
    out: &mut (impl Write + ?Sized),
    file: &Path,
    mut tensors: Vec<StoredTensor>,
    mut metadata: BTreeMap<String, String>,
) -> Result<()> {
    // As the library does that reads these files: by alignment, then by name.
    tensors.sort_by(|a, b| (Reverse(a.dtype), &a.name).cmp(&(Reverse(b.dtype), &b.name)));
    metadata.insert("format".to_string(), "pt".to_string());
    let header = header(&tensors, metadata);
    let mut write = |bytes: &[u8]| out.write_all(bytes).map_err(|e| Error::io(file, e));
    write(&(header.len() as u64).to_le_bytes())?;
    write(header.as_bytes())?;
    tensors
        .iter()
        .try_for_each(|tensor| tensor.write(&mut write))
}

/// The header, of whole runs of eight bytes: tensors are read where they lie.
fn header(tensors: &[StoredTensor], metadata: BTreeMap<String, String>) -> String {
    let mut fields = Map::new();
    fields.insert("__metadata__".to_string(), json!(metadata));
    let mut start = 0;
    for tensor in tensors {
        let end = start + tensor.n_bytes();
        let info = json!({
            "dtype": tensor.dtype,
            "shape": tensor.shape,
            "data_offsets": [start, end],
        });
        fields.insert(tensor.name.clone(), info);
        start = end;
    }
    let mut header = Value::Object(fields).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    header
}
