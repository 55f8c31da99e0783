//! Looped models as others publish them, on the real binary: two tiny random checkpoints with the
//! published names of tensors and fields (`tests/fixtures/looped/make.py`).

mod chats;
mod commands;
mod files;
mod outputs;
mod variables;

use std::path::Path;

use anyhow::{Context, Result};
use libtest_mimic::Trial;
use serde_json::Value;
use tempfile::TempDir;

use crate::fixtures::path;

/// Four steps, and a gate after each.
const OURO: &str = "ouro";

/// Two steps, and no scores; in shards.
const NANBEIGE: &str = "nanbeige";

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    trials.extend(chats::trials());
    trials.extend(commands::trials());
    trials.extend(files::trials());
    trials.extend(outputs::trials());
    trials.extend(variables::trials());
    trials
}

/// The steps of a model.
fn n_cycles(model: &str) -> usize {
    match model {
        OURO => 4,
        _ => 2,
    }
}

/// The folder of a checkpoint.
fn folder(model: &str) -> String {
    path("looped").join(model).display().to_string()
}

/// A fixture in JSON.
fn fixture(name: &str) -> Result<Value> {
    let text = std::fs::read_to_string(path("looped").join(name))?;
    Ok(serde_json::from_str(&text)?)
}

/// A copy of a checkpoint that a test may change.
struct Edited {
    folder: TempDir,
}

impl Edited {
    fn of(model: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        for file in std::fs::read_dir(path("looped").join(model))? {
            let file = file?;
            std::fs::copy(file.path(), folder.path().join(file.file_name()))?;
        }
        Ok(Self { folder })
    }

    /// Sets a field of a file in JSON.
    fn set(self, file: &str, field: &str, value: Value) -> Result<Self> {
        let path = self.path().join(file);
        let mut fields: Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
        let object = fields.as_object_mut().context("no object")?;
        object.insert(field.to_string(), value);
        std::fs::write(path, fields.to_string())?;
        Ok(self)
    }

    /// Writes a file, over the one of that name.
    fn with(self, file: &str, text: &str) -> Result<Self> {
        std::fs::write(self.path().join(file), text)?;
        Ok(self)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn name(&self) -> String {
        self.path().display().to_string()
    }
}
