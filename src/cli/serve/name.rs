//! The name of a model in requests.

use std::path::{Component, Path, PathBuf};

use crate::model::BUILTIN;

/// How the Hugging Face cache calls the folder of `org/name`, with `--` for the slash.
const CACHED: &str = "models--";

/// The folder of the cache that holds a model's revisions, each called by its hash.
const REVISIONS: &str = "snapshots";

/// The name in requests of the model that the user calls `model`: `org/name` and [`BUILTIN`] as
/// they are, a folder by its own name, without the path to it. A file is called after its folder
/// where its config lies there too, else by its own name.
pub fn of(model: &str) -> String {
    let path = Path::new(model);
    let Ok(meta) = path.metadata() else {
        return model.to_string();
    };
    if model == BUILTIN {
        return model.to_string();
    }
    let name = match (meta.is_dir(), path.parent()) {
        (true, _) => of_folder(path),
        (false, Some(folder)) if folder.join("config.json").exists() => match folder.as_os_str() {
            here if here.is_empty() => of_folder(Path::new(".")),
            _ => of_folder(folder),
        },
        (false, _) => path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned()),
    };
    name.unwrap_or_else(|| model.to_string())
}

/// `None` for the root of all folders.
fn of_folder(path: &Path) -> Option<String> {
    let path = whole(path);
    let name = |path: &Path| Some(path.file_name()?.to_string_lossy().into_owned());
    let cached = || {
        let revisions = path.parent()?;
        let repository = name(revisions.parent()?)?;
        let is_cached = name(revisions)? == REVISIONS;
        let (org, rest) = repository.strip_prefix(CACHED)?.split_once("--")?;
        is_cached.then(|| format!("{org}/{rest}"))
    };
    cached().or_else(|| name(&path))
}

/// A path from the root on, its last part as the user calls it where it is a name.
fn whole(path: &Path) -> PathBuf {
    let whole = match path.components().next_back() {
        Some(Component::Normal(_)) => std::path::absolute(path),
        _ => path.canonicalize(),
    };
    whole.unwrap_or_else(|_| path.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_called_by_its_folder_or_file() {
        let root = tempfile::tempdir().unwrap();
        let cached = "models--org--my--model/snapshots/0123abc";
        for folder in ["tiny/nested", "packed.d", cached] {
            std::fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        for file in [
            "tiny/config.json",
            "tiny/model.safetensors",
            "packed.d/one.safetensors",
        ] {
            std::fs::write(root.path().join(file), "").unwrap();
        }
        for (path, name) in [
            ("tiny", "tiny"),
            ("tiny/", "tiny"),
            ("tiny/.", "tiny"),
            ("tiny/nested/..", "tiny"),
            ("tiny/model.safetensors", "tiny"),
            ("packed.d", "packed.d"),
            ("packed.d/one.safetensors", "one"),
            (cached, "org/my--model"),
        ] {
            let path = format!("{}/{path}", root.path().display());
            assert_eq!(of(&path), name, "{path}");
        }
        // Relative ones, as tests are run where the manifest lies.
        assert_eq!(of("./src/../src/"), "src");
        assert_eq!(of("Cargo.toml"), "Cargo");
        let here = std::env::current_dir().unwrap();
        assert_eq!(of("."), here.file_name().unwrap().to_string_lossy());
        for name in [BUILTIN, "org/name"] {
            assert_eq!(of(name), name);
        }
    }
}
