//! The embedded model as a checkpoint folder with a chat template.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;
use ztt_wgpu::model::{BUILTIN, Fetch, Model};

/// Speaks as the model's plays do: a name, a colon, lines.
pub const TEMPLATE: &str = "\
{% for message in messages %}
{% if message.role == 'system' %}
{{ message.content }}

{% else %}
{{ {'user': 'ROMEO', 'assistant': 'JULIET'}[message.role] }}:
{{ message.content }}

{% endif %}
{% endfor %}
{% if add_generation_prompt %}
JULIET:
{% endif %}
";

pub struct ChatModel {
    folder: TempDir,
}

impl ChatModel {
    pub fn new() -> Result<Self> {
        Self::without_template()?.with("chat_template.jinja", TEMPLATE)
    }

    pub fn without_template() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let source = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/model/builtin/ztt-classics.safetensors"
        );
        std::fs::copy(source, folder.path().join("model.safetensors"))?;
        Ok(Self { folder })
    }

    /// One whose positions do not end while a test lasts.
    pub fn endless() -> Result<Self> {
        let mut config = config()?;
        config["max_position_embeddings"] = 1_000_000.into();
        Self::new()?.with("config.json", &config.to_string())
    }

    /// Nothing says what a text begins with.
    pub fn without_bos(self) -> Result<Self> {
        let mut config = config()?;
        config["bos_token_id"] = Value::Null;
        let model = self.with("config.json", &config.to_string())?;
        model.with("generation_config.json", "{}")
    }

    /// Puts a file beside the weights.
    pub fn with(self, name: &str, text: &str) -> Result<Self> {
        std::fs::write(self.file(name), text)?;
        Ok(self)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn name(&self) -> String {
        self.folder.path().display().to_string()
    }
}

/// The embedded model's config.
fn config() -> Result<Value> {
    let model = Model::open(BUILTIN, Fetch::Never)?;
    let config = model.texts.iter().find(|t| t.name == "config.json");
    Ok(serde_json::from_str(&config.context("config")?.text)?)
}
