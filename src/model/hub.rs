//! Models by their name on the Hugging Face hub: in the local cache, or fetched into it.

mod settings;

use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use hf_hub::api::sync::{Api, ApiBuilder, ApiError};
use hf_hub::{Cache, CacheRepo, Repo, RepoType};
use settings::Settings;

use super::foreign::{self, WEIGHTS};
use super::guard::guarded;
use super::{CONFIG, Fetch, TEXTS, index};
use crate::error::{Error, Result, first_line};
use crate::files;

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
    let settings = Settings::from_env();
    let cache = Cache::new(settings.cache.clone());
    let cached = cache.repo(Repo::model(name.to_string()));
    check_reference(&cached)?;
    let weights = WEIGHTS.iter().find_map(|file| cached.get(file));
    if let (Some(config), Some(_)) = (cached.get("config.json"), weights) {
        let folder = config.parent().map(PathBuf::from).unwrap_or_default();
        if fetch == Fetch::Never {
            return Ok(folder);
        }
        if has_all_shards(&folder) {
            let has_all_texts = TEXTS.iter().all(|text| folder.join(text).exists());
            if !has_all_texts && settings.offline.is_none() {
                // Other programs cache the files one by one. The model runs with what is there
                // where the hub cannot be asked for the rest.
                let revision = folder.file_name().and_then(|name| name.to_str());
                let completed = fetched(name, &settings, &cached, revision);
                return Ok(completed.unwrap_or(folder));
            }
            return Ok(folder);
        }
    }
    let advice = match (fetch, settings.offline) {
        (Fetch::Never, _) => "none (`--download` fetches it)".to_string(),
        (_, Some(variable)) => format!("none that is whole, and `{variable}` says to stay offline"),
        (Fetch::IfMissing, None) => return fetched(name, &settings, &cached, None),
    };
    let expected = "a file, a folder, or a model in the Hugging Face cache";
    Err(Error::file(name, expected, advice))
}

/// Refuses anything but a small file as the note of the newest revision's name: the library reads
/// it without a limit.
fn check_reference(cached: &CacheRepo) -> Result<()> {
    const LIMIT: u64 = 1 << 16;
    let repository = cached.pointer_path("");
    let reference = repository.parent().map(|folder| folder.join("refs/main"));
    match reference.filter(|path| files::is_there(path)) {
        Some(path) => files::text(&path, LIMIT).map(drop),
        None => Ok(()),
    }
}

/// Whether no shard that the folder's index names is missing; true without an index.
fn has_all_shards(folder: &Path) -> bool {
    let file = folder.join(WEIGHTS[1]);
    if folder.join(WEIGHTS[0]).exists() || !file.exists() {
        return true;
    }
    let shards = index::shards(&file).unwrap_or_default();
    shards.iter().all(|name| folder.join(name).exists())
}

/// Fetches into the cache the missing files of a `revision` of `name`, or of the newest one. The
/// cache names the revision as that of the model when all is there, so that a part of a model is
/// not taken for one.
fn fetched(
    name: &str,
    settings: &Settings,
    cached: &CacheRepo,
    revision: Option<&str>,
) -> Result<PathBuf> {
    let api = ApiBuilder::from_cache(Cache::new(settings.cache.clone()))
        .with_endpoint(settings.endpoint.clone())
        .with_token(settings.token.clone())
        .build()
        .map_err(|e| failed(name, e))?;
    let repo = match revision {
        Some(sha) => Repo::with_revision(name.to_string(), RepoType::Model, sha.to_string()),
        None => Repo::model(name.to_string()),
    };
    let info = guarded(|| api.repo(repo).info());
    let info = info.map_err(|e| failed(name, e))?;
    let info = info.map_err(|e| failed(name, e))?;
    let fetch = Fetching {
        name,
        api: &api,
        cached,
        revision: info.sha,
        there: info
            .siblings
            .into_iter()
            .map(|file| file.rfilename)
            .collect(),
    };
    let folder = fetch.all()?;
    let named = cached.create_ref(&fetch.revision);
    named.map_err(|e| failed(name, e))?;
    Ok(folder)
}

fn failed(name: &str, error: impl std::fmt::Display) -> Error {
    let mut found = first_line(error);
    if ["401", "403"].iter().any(|status| found.contains(status)) {
        found += " (it may be private or gated: `HF_TOKEN` holds the token that may read it)";
    }
    Error::file(name, "a model on the Hugging Face hub", found)
}

/// One revision of a model that is being fetched.
struct Fetching<'a> {
    name: &'a str,
    api: &'a Api,
    cached: &'a CacheRepo,
    revision: String,
    /// The files that the hub has.
    there: Vec<String>,
}

impl Fetching<'_> {
    /// Fetches the weights, the index and the shards that it names, and the texts; returns their
    /// folder.
    fn all(&self) -> Result<PathBuf> {
        let is_there = |file: &&str| self.there.iter().any(|there| there == file);
        let Some(weights) = WEIGHTS.into_iter().find(is_there) else {
            let instead = foreign::instead(self.there.iter().cloned());
            let expected = format!("{} on the Hugging Face hub", WEIGHTS.join(" or "));
            return Err(Error::file(
                self.name,
                expected,
                instead.unwrap_or("neither".to_string()),
            ));
        };
        if !self.there.iter().any(|there| there == CONFIG) {
            return Err(failed(self.name, format!("no `{CONFIG}`")));
        }
        for file in TEXTS.into_iter().filter(is_there) {
            self.file(file)?;
        }
        let path = self.file(weights)?;
        if weights == WEIGHTS[1] {
            let shards = index::shards(&path)?;
            // Before gigabytes are fetched.
            shards.iter().try_for_each(|shard| self.check(shard))?;
            shards
                .iter()
                .try_for_each(|shard| self.file(shard).map(|_| ()))?;
        }
        Ok(path.parent().map(PathBuf::from).unwrap_or_default())
    }

    /// Refuses a file that the hub does not have.
    fn check(&self, file: &str) -> Result<()> {
        let is_plain = |path: &Path| path.components().all(|c| matches!(c, Component::Normal(_)));
        if is_plain(Path::new(file)) && self.there.iter().any(|there| there == file) {
            return Ok(());
        }
        let found = format!("no `{file}`, which `{}` names", WEIGHTS[1]);
        Err(failed(self.name, found))
    }

    /// The place of `file` in the cache, where it is now.
    fn file(&self, file: &str) -> Result<PathBuf> {
        self.check(file)?;
        let place = self.cached.pointer_path(&self.revision).join(file);
        if place.exists() {
            return Ok(place);
        }
        let downloaded = guarded(|| self.download(file));
        let downloaded = downloaded.map_err(|e| self.file_failed(file, e))?;
        downloaded.map_err(|e| self.file_failed(file, e))
    }

    fn file_failed(&self, file: &str, error: impl std::fmt::Display) -> Error {
        failed(&format!("{}/{file}", self.name), error)
    }

    /// Downloads `file`, and lets it stand only if all of it came.
    fn download(&self, file: &str) -> Result<PathBuf, ApiError> {
        let revision = self.revision.clone();
        let repo = Repo::with_revision(self.name.to_string(), RepoType::Model, revision);
        let pinned = self.api.repo(repo);
        let metadata = self.api.metadata(&pinned.url(file))?;
        let size = metadata.size() as u64;
        let blob = self.cached.blob_path(metadata.etag());
        // A part left by an earlier try is continued, unless nothing is missing of it: the hub has
        // no more to send then.
        let part = blob.with_extension("part");
        if fs::metadata(&part).is_ok_and(|part| part.len() >= size) {
            fs::remove_file(&part)?;
        }
        let pointer = pinned.download(file).inspect_err(|e| {
            // The part that came before a connection broke is kept for the next try. On a full disk
            // it is only in the way.
            if is_full(e) {
                let _ = fs::remove_file(&part);
            }
        })?;
        // The library notes each revision under its own name; the cache knows them by branches.
        let reference = self
            .cached
            .pointer_path("")
            .parent()
            .map(|repo| repo.join("refs"));
        if let Some(refs) = reference {
            let _ = fs::remove_file(refs.join(&self.revision));
        }
        let found = fs::metadata(&pointer)?.len();
        if found != size {
            for path in [&pointer, &blob] {
                let _ = fs::remove_file(path);
            }
            let cut = format!("{found} of {size} bytes came");
            return Err(std::io::Error::other(cut).into());
        }
        Ok(pointer)
    }
}

/// Whether there is no more room for the download.
fn is_full(error: &ApiError) -> bool {
    let full = [
        ErrorKind::StorageFull,
        ErrorKind::QuotaExceeded,
        ErrorKind::FileTooLarge,
    ];
    matches!(error, ApiError::IoError(e) if full.contains(&e.kind()))
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
