//! Checkpoints: config, weights, tokenizer and chat template. Nothing here knows of a device.

mod blank;
pub mod block;
mod block_config;
mod by_role;
mod bytes;
pub mod chat_template;
pub mod checkpoint;
pub mod config;
pub mod convert;
pub mod exit_block;
pub mod family;
mod foreign;
pub mod generation;
pub(crate) mod guard;
#[cfg(feature = "hub")]
mod hub;
pub mod index;
pub mod json;
pub mod loops;
mod names;
pub mod plain_content;
pub(crate) mod python_json;
pub mod quant;
pub mod role;
pub mod rope_config;
pub mod save;
pub mod shape;
mod shard;
mod sizes;
pub mod stored;
pub mod synthetic;
pub mod tensor;
pub mod tokenizer;
pub mod turn_end;
mod tying;
pub mod weights;
pub mod ztt;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chat_template::ChatTemplate;
use checkpoint::Checkpoint;
use config::{Config, GenerationConfig, TIED};
use loops::Loops;
use quant::Quant;
use serde_json::{Map, Value};
use tokenizer::Tokenizer;
use weights::{Pool, Reader};

use crate::error::{Error, Result};
use crate::files::{self, FileId, MIB};

/// The name of the model that is part of the program.
pub const BUILTIN: &str = "builtin";

static BUILTIN_BYTES: &[u8] = include_bytes!("builtin/ztt-classics.safetensors");

/// The text that every checkpoint has.
const CONFIG: &str = "config.json";

const TOKENIZER: &str = "tokenizer.json";

/// The longest `tokenizer.json` that is read: twice that of the largest vocabularies there are.
const TOKENIZER_LIMIT: u64 = 64 * MIB;

/// The longest other text of a checkpoint that is read.
const TEXT_LIMIT: u64 = 16 * MIB;

/// The texts of a checkpoint.
const TEXTS: [&str; 7] = [
    CONFIG,
    "generation_config.json",
    TOKENIZER,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
];

/// A checkpoint with its config: everything but the device.
pub struct Model {
    /// How the user named it.
    pub name: String,
    pub config: Config,
    pub generation: GenerationConfig,
    pub pool: Option<Pool>,
    pub checkpoint: Checkpoint,
    /// The format of matrices, of those that fit it.
    pub quant: Option<Quant>,
    /// The names of these matrices.
    quantized: BTreeMap<String, Quant>,
    /// Harmless oddities of the files, each in one line.
    pub warnings: Vec<String>,
    /// The texts of the model, beside the weights or embedded.
    pub texts: Vec<Text>,
    /// The files that the model was read from, and how errors name them.
    files: Vec<(FileId, String)>,
}

/// Whether a model that is not on this machine is fetched from the Hugging Face hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    Never,
    IfMissing,
}

/// A text of a checkpoint and where it came from.
pub struct Text {
    /// The name of its file in a checkpoint folder.
    pub name: &'static str,
    /// How errors name the file.
    pub file: String,
    pub text: String,
}

impl Model {
    /// Opens the model `name`: [`BUILTIN`], a folder, a safetensors file, or `org/name` in the
    /// local Hugging Face cache, where `fetch` may put it. Weights are read when they are needed;
    /// names, shapes and types of all tensors are checked here.
    pub fn open(name: &str, fetch: Fetch) -> Result<Self> {
        if name == BUILTIN {
            let checkpoint = Checkpoint::embedded(BUILTIN, BUILTIN_BYTES)?;
            return Self::from_checkpoint(name, checkpoint, None);
        }
        let path = place(name, fetch)?;
        let path = path.as_path();
        let meta = files::metadata(path, "a checkpoint folder or a safetensors file")?;
        let (file, folder) = match meta.is_dir() {
            true => (foreign::weights_in(path)?, path.to_path_buf()),
            false => {
                let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
                (path.to_path_buf(), folder)
            }
        };
        foreign::refuse(&file)?;
        let checkpoint = match file.extension().is_some_and(|e| e == "json") {
            true => Checkpoint::open_index(&file)?,
            false => Checkpoint::open(&file)?,
        };
        let mut model = Self::from_checkpoint(name, checkpoint, Some(&folder))?;
        // The index is one of them where it is no shard.
        if let Ok(id) = FileId::of(&file) {
            model.files.push((id, file.display().to_string()));
        }
        Ok(model)
    }

    /// Opens a single-file model in memory; `name` stands for it in errors.
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Self> {
        Self::from_checkpoint(name, Checkpoint::in_memory(name, bytes)?, None)
    }

    fn from_checkpoint(name: &str, checkpoint: Checkpoint, folder: Option<&Path>) -> Result<Self> {
        let mut texts = Vec::new();
        let mut files: Vec<_> = checkpoint
            .files()
            .map(|(id, name)| (id, name.to_string()))
            .collect();
        for name in TEXTS {
            texts.extend(read_text(name, &checkpoint, folder)?);
            let path = folder.map(|folder| folder.join(name));
            let id = path.and_then(|path| Some((FileId::of(&path).ok()?, path)));
            files.extend(id.map(|(id, path)| (id, path.display().to_string())));
        }
        let text = |name: &str| texts.iter().find(|t| t.name == name);
        let Some(config) = text(CONFIG) else {
            let expected = "config.json beside the weights or embedded in them";
            return Err(Error::file(name, expected, "none"));
        };
        let mut config = Config::parse(&config.file, &config.text)?;
        let generation = match text("generation_config.json") {
            Some(t) => GenerationConfig::parse(&t.file, &t.text)?,
            None => GenerationConfig::default(),
        };
        let quant = config.quant;
        let mut warnings = Vec::new();
        if let Some(warning) = Reader::new(&checkpoint, &config, quant).untied_head()? {
            config.tied = false;
            warnings.push(warning);
        }
        let pool = Reader::new(&checkpoint, &config, quant).pool()?;
        // A ZTT may come without its pool.
        if config.pool.is_some() && pool.is_none() {
            config.score = None;
        }
        let checked = Reader::new(&checkpoint, &config, quant).check()?;
        warnings.extend(unused_warning(&checkpoint, &checked.unused));
        Ok(Self {
            name: name.to_string(),
            quant,
            quantized: checked.quantized,
            config,
            generation,
            pool,
            warnings,
            checkpoint,
            texts,
            files,
        })
    }

    /// Refuses to write to a file that the model was read from, by any path that leads to it.
    ///
    /// # Errors
    /// [`Error::File`] where it is one.
    pub fn check_output(&self, path: &Path) -> Result<()> {
        let Ok(id) = FileId::of_output(path) else {
            return Ok(());
        };
        match self.files.iter().find(|(file, _)| *file == id) {
            None => Ok(()),
            Some((_, name)) => {
                let expected = "a file to write that the model is not read from";
                Err(Error::file(
                    path.display().to_string(),
                    expected,
                    format!("`{name}`"),
                ))
            }
        }
    }

    /// The model with its matrices quantised when they are read, where `quant` says how.
    ///
    /// # Errors
    /// [`Error::File`] when they are quantised already.
    pub fn with_quant(self, quant: Option<Quant>) -> Result<Self> {
        if let (Some(_), Some(stored)) = (quant, self.quant) {
            let found = format!("weights in {}", stored.name());
            return Err(Error::file(
                self.name,
                "weights that are not quantised yet",
                found,
            ));
        }
        let quant = quant.or(self.quant);
        let reader = Reader::new(&self.checkpoint, &self.config, quant);
        Ok(Self {
            quantized: reader.check()?.quantized,
            quant,
            ..self
        })
    }

    /// The model with its layers `first` to `last` run `cycles` times, nothing else changed.
    ///
    /// # Errors
    /// [`Error::Option`] where there are no such layers, and where layers run in cycles already.
    pub fn with_loop(mut self, first: usize, last: usize, cycles: usize) -> Result<Self> {
        if self.config.middle_layers() > 0 {
            return Err(Error::Option {
                option: "--loop",
                expected: "a model that runs each layer once".to_string(),
                found: format!("`{}`, which runs layers in cycles", self.name),
            });
        }
        self.config.loops = Loops::of_layers(first, last, cycles, self.config.n_layers)?;
        Ok(self)
    }

    /// The weights, by role.
    pub fn weights(&self) -> Reader<'_> {
        Reader::new(&self.checkpoint, &self.config, self.quant)
    }

    /// Notes in the fields of a new `config.json` the findings about the embedding: that it is not
    /// the output projection.
    pub(crate) fn say_untied(&self, fields: &mut Map<String, Value>) {
        let tied = fields.get(TIED).and_then(Value::as_bool);
        if !self.config.tied && tied.unwrap_or(self.config.family.defaults.tied) {
            fields.insert(TIED.to_string(), Value::Bool(false));
        }
    }

    fn text(&self, name: &str) -> Option<&Text> {
        self.texts.iter().find(|t| t.name == name)
    }

    /// Whether the model has a tokenizer.
    pub fn has_tokenizer(&self) -> bool {
        self.text("tokenizer.json").is_some()
    }

    /// Parses the model's tokenizer.
    ///
    /// # Errors
    /// [`Error::NoTokenizer`] where there is none; [`Error::File`] and [`Error::Field`] where it
    /// cannot be read.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        let found = Tokenizer::of_checkpoint(&self.name, &self.texts)?;
        found.ok_or_else(|| Error::NoTokenizer {
            model: self.name.clone(),
        })
    }

    /// The model's chat template: `chat_template.jinja`, else the one in `tokenizer_config.json`.
    ///
    /// # Errors
    /// [`Error::NoChatTemplate`] where there is none; [`Error::Field`] or [`Error::File`] where
    /// it cannot be read.
    pub fn chat_template(&self) -> Result<ChatTemplate> {
        match ChatTemplate::of_checkpoint(&self.texts)? {
            Some(template) => Ok(template),
            None => Err(Error::NoChatTemplate {
                model: self.name.clone(),
            }),
        }
    }

    /// The id a text begins with, if the model has one.
    pub fn bos(&self) -> Option<u32> {
        self.generation.bos.or(self.config.bos)
    }

    /// The ids that end a text.
    pub fn eos(&self) -> &[u32] {
        match self.generation.eos.is_empty() {
            true => &self.config.eos,
            false => &self.generation.eos,
        }
    }

    /// Refuses ids that have no embedding.
    pub fn check_ids(&self, ids: &[u32]) -> Result<()> {
        check_ids(ids, self.config.vocab)
    }
}

/// Refuses ids outside a vocabulary of `vocab` tokens.
pub fn check_ids(ids: &[u32], vocab: usize) -> Result<()> {
    match ids.iter().find(|&&id| id as usize >= vocab) {
        Some(&id) => Err(Error::TokenOutside {
            id: i64::from(id),
            vocab,
        }),
        None => Ok(()),
    }
}

/// Where on this machine the model lies that is no part of the program.
#[cfg(feature = "hub")]
fn place(name: &str, fetch: Fetch) -> Result<PathBuf> {
    match !files::is_there(Path::new(name)) && hub::is_repository(name) {
        true => hub::folder(name, fetch),
        false => Ok(PathBuf::from(name)),
    }
}

/// Where the model lies, in a build without the hub: names are paths.
#[cfg(not(feature = "hub"))]
fn place(name: &str, _: Fetch) -> Result<PathBuf> {
    Ok(PathBuf::from(name))
}

/// A text of a checkpoint; a file beside the weights wins over the text embedded in them.
fn read_text(
    name: &'static str,
    checkpoint: &Checkpoint,
    folder: Option<&Path>,
) -> Result<Option<Text>> {
    if let Some(path) = folder.map(|f| f.join(name)).filter(|p| files::is_there(p)) {
        let text = files::text(&path, limit(name))?;
        let file = path.display().to_string();
        return Ok(Some(Text { name, file, text }));
    }
    Ok(checkpoint.metadata(name).map(|text| Text {
        name,
        file: format!("{}: {name}", checkpoint.file()),
        text: text.to_string(),
    }))
}

/// The most bytes of the text `name`.
fn limit(name: &str) -> u64 {
    match name {
        TOKENIZER => TOKENIZER_LIMIT,
        _ => TEXT_LIMIT,
    }
}

/// Tensors that stand in the file and are not used: the first by name.
fn unused_warning(checkpoint: &Checkpoint, unused: &[String]) -> Option<String> {
    const SHOWN: usize = 16;
    if unused.is_empty() {
        return None;
    }
    let mut names: Vec<_> = unused
        .iter()
        .take(SHOWN)
        .map(|n| format!("`{n}`"))
        .collect();
    if unused.len() > SHOWN {
        names.push(format!("{} more", unused.len() - SHOWN));
    }
    Some(format!(
        "`{}`: tensors not used: {}",
        checkpoint.file(),
        names.join(", ")
    ))
}
