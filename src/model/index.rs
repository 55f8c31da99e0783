//! The index of a checkpoint of several files: which tensor is in which of them.

use std::path::Path;

use serde_json::Value;

use super::json::{Object, kind, parse_object};
use crate::error::Result;
use crate::files::{self, MIB};

/// The longest index that is read: hundreds of thousands of tensors.
const LIMIT: u64 = 64 * MIB;

/// The names of the files that the index `path` names, each once: files in its own folder.
///
/// # Errors
/// [`Error::Field`](crate::Error::Field) where it names others, or is otherwise not an index.
pub fn shards(path: &Path) -> Result<Vec<String>> {
    shards_of(&path.display().to_string(), &files::text(path, LIMIT)?)
}

/// The names of the files that the `text` of an index names; `file` names the index in errors.
///
/// # Errors
/// Those of [`shards`], except where the file cannot be read.
pub fn shards_of(file: &str, text: &str) -> Result<Vec<String>> {
    let fields = parse_object(file, text)?;
    let json = Object::new(file, &fields);
    let Some(Value::Object(map)) = json.get("weight_map") else {
        return Err(json.error("weight_map", "an object", "none"));
    };
    let expected = "the name of a file in the same folder";
    let nested = Object::nested(file, "weight_map", map);
    let mut names = Vec::new();
    for (tensor, shard) in map {
        match shard {
            Value::String(name) if is_name(name) => names.push(name.clone()),
            Value::String(name) => {
                return Err(nested.error(tensor, expected, &format!("`{name}`")));
            }
            other => return Err(nested.error(tensor, expected, &kind(other))),
        }
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// Whether `name` is a file's name and not a path, on any system.
fn is_name(name: &str) -> bool {
    !["", ".", ".."].contains(&name) && !name.contains(['/', '\\', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_no_names() {
        assert!(is_name("model-00001-of-00002.safetensors"));
        assert!(is_name("..model"));
        for way in ["", ".", "..", "../x", "/x", "a/b", "a\\b", "x\0"] {
            assert!(!is_name(way), "{way:?}");
        }
    }
}
