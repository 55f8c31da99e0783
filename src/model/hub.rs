//! Models by their name on the Hugging Face hub: in the local cache, or fetched into it.

use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};

use super::{Fetch, TEXTS};
use crate::error::{Error, Result, first_line};

/// Files that hold the weights or say where they are: one of them is needed.
const WEIGHTS: [&str; 2] = ["model.safetensors", "model.safetensors.index.json"];

/// Whether `name` has the form `org/name`.
pub fn is_repository(name: &str) -> bool {
    let is_part = |part: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed)
    };
    let parts: Vec<&str> = name.split('/').collect();
    parts.len() == 2 && parts.into_iter().all(is_part)
}

/// The folder of the cache that holds `name`.
///
/// # Errors
/// [`Error::File`] when the cache does not hold it, or it cannot be fetched.
pub fn folder(name: &str, fetch: Fetch) -> Result<PathBuf> {
    let repo = Repo::new(name.to_string(), RepoType::Model);
    let cached = Cache::from_env().repo(repo.clone());
    let weights = WEIGHTS.iter().find_map(|file| cached.get(file));
    if let (Some(config), Some(_)) = (cached.get("config.json"), weights) {
        let folder = config.parent().map(PathBuf::from).unwrap_or_default();
        if fetch == Fetch::Never || has_all_shards(&folder) {
            return Ok(folder);
        }
    }
    if fetch == Fetch::Never {
        let expected = "a file, a folder, or a model in the Hugging Face cache";
        return Err(Error::file(
            name,
            expected,
            "none (`--download` fetches it)",
        ));
    }
    let failed = |e: &dyn std::fmt::Display| {
        let found = first_line(e);
        Error::file(name, "a model on the Hugging Face hub", found)
    };
    let api = ApiBuilder::from_env().build().map_err(|e| failed(&e))?;
    let repo = api.repo(repo);
    let info = repo.info().map_err(|e| failed(&e))?;
    let there: Vec<String> = info
        .siblings
        .into_iter()
        .map(|file| file.rfilename)
        .collect();
    let Some(weights) = WEIGHTS
        .into_iter()
        .find(|file| there.iter().any(|f| f == file))
    else {
        let expected = format!("{} on the Hugging Face hub", WEIGHTS.join(" or "));
        return Err(Error::file(name, expected, "neither"));
    };
    let shards = there.iter().filter(|file| {
        weights != WEIGHTS[0] && !file.contains('/') && file.ends_with(".safetensors")
    });
    let texts = there.iter().filter(|file| TEXTS.contains(&file.as_str()));
    let get = |repo: &ApiRepo, file: &str| repo.get(file).map_err(|e| failed(&e));
    for file in texts.chain(shards) {
        get(&repo, file)?;
    }
    // Last, so that an interrupted fetch does not look complete.
    let weights = get(&repo, weights)?;
    Ok(weights.parent().map(PathBuf::from).unwrap_or_default())
}

/// Whether no shard that the folder's index names is missing; true without an index.
fn has_all_shards(folder: &Path) -> bool {
    let Ok(text) = std::fs::read_to_string(folder.join(WEIGHTS[1])) else {
        return true;
    };
    let index: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let map = index["weight_map"].as_object();
    let shards = map.into_iter().flat_map(|m| m.values());
    let mut names = shards.filter_map(|name| name.as_str());
    names.all(|name| folder.join(name).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_repositories_are_told_from_paths() {
        assert!(is_repository("HuggingFaceTB/SmolLM2-135M-Instruct"));
        for path in [
            "model", "/a/b", "a/b/c", "./model", "../b", "a/", "a b/c", "a\\b/c",
        ] {
            assert!(!is_repository(path), "{path}");
        }
    }
}
