//! Formats that hold weights and are not read, each with the way to convert it.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files::is_there;

/// The files that a checkpoint folder has its weights in, or says where they are: one of them.
pub const WEIGHTS: [&str; 2] = ["model.safetensors", "model.safetensors.index.json"];

/// Refuses a file in such a format.
pub fn refuse(file: &Path) -> Result<()> {
    let name = file
        .file_name()
        .and_then(|n| n.to_str())
        .unwrap_or_default();
    match way(name) {
        Some(way) => {
            let found = format!("{}: {way}", kind(name));
            Err(Error::file(
                file.display().to_string(),
                "a safetensors file",
                found,
            ))
        }
        None => Ok(()),
    }
}

/// The file in a folder that holds the weights or says where they are.
///
/// # Errors
/// [`Error::File`] where there is none.
pub fn weights_in(folder: &Path) -> Result<PathBuf> {
    let mut paths = WEIGHTS.iter().map(|name| folder.join(name));
    let found = paths.find(|path| is_there(path));
    found.ok_or_else(|| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let found = instead(names).unwrap_or("neither".to_string());
        let expected = format!("{} in the folder", WEIGHTS.join(" or "));
        Error::file(folder.display().to_string(), expected, found)
    })
}

/// The weights in another format among files of these `names`, in words for a message.
pub fn instead(names: impl Iterator<Item = String>) -> Option<String> {
    let mut names: Vec<String> = names.filter(|name| way(name).is_some()).collect();
    // Beside a model there may be small files of the same kind, such as `training_args.bin`.
    let is_model = |name: &String| {
        ["pytorch_model", "consolidated", "model"]
            .iter()
            .any(|start| name.starts_with(start))
    };
    names.sort_by_key(|name| (!is_model(name), name.clone()));
    let name = names.first()?;
    Some(format!("{name}, which is not read: {}", way(name)?))
}

/// The kind of the file `name`, in words for a message.
fn kind(name: &str) -> String {
    let (_, extension) = name.rsplit_once('.').unwrap_or_default();
    match extension {
        "json" => "an index of .bin files".to_string(),
        other => format!("a .{other} file"),
    }
}

/// How the file `name` becomes safetensors, where it is in a format that is not read.
fn way(name: &str) -> Option<String> {
    let (stem, extension) = name.rsplit_once('.')?;
    let reader = match extension {
        "gguf" => "transformers reads it with `from_pretrained(folder, gguf_file=name)`",
        "pth" if stem.starts_with("consolidated") => {
            "the family's conversion script in the repository of transformers \
             (`convert_llama_weights_to_hf.py`) reads it"
        }
        "bin" | "pt" | "pth" => "transformers reads it with `from_pretrained(folder)`",
        "json" if stem.ends_with(".bin.index") => {
            "transformers reads it with `from_pretrained(folder)`"
        }
        "h5" => "transformers 4 reads it with `from_pretrained(folder, from_tf=True)`",
        "msgpack" => "transformers 4 reads it with `from_pretrained(folder, from_flax=True)`",
        _ => return None,
    };
    Some(format!(
        "{reader} and writes safetensors with `save_pretrained`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_named_before_what_lies_beside_it() {
        let said = |names: &[&str]| instead(names.iter().map(|n| n.to_string()));
        let bin = said(&[
            "config.json",
            "optimizer.pt",
            "pytorch_model.bin",
            "args.bin",
        ])
        .unwrap();
        assert!(
            bin.starts_with("pytorch_model.bin, which is not read: "),
            "{bin}"
        );
        let index = "pytorch_model.bin.index.json";
        let shards = said(&["pytorch_model-00001-of-00002.bin", index]).unwrap();
        assert!(shards.contains("from_pretrained(folder)"), "{shards}");
        let meta = said(&["params.json", "consolidated.00.pth"]).unwrap();
        assert!(meta.contains("convert_llama_weights_to_hf"), "{meta}");
        assert!(said(&["a.Q4_K_M.gguf"]).unwrap().contains("gguf_file"));
        assert_eq!(said(&["config.json", "README.md", "tokenizer"]), None);
    }
}
