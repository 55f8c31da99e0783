//! The tokenizer that transformers 5 makes of a `tokenizer.json` by the name of its class.
//!
//! Most classes read the file as it is. `GPT2Tokenizer`, `LlamaTokenizer` and `Qwen2Tokenizer`
//! take vocabulary, merges and post-processor alone and have normalizer, splitting, decoder and
//! some special tokens of their own.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokenizers::ModelWrapper;
use tokenizers::models::bpe::BPE;

use super::Inner;
use super::naming::File;
use super::steps::{Decoding, Normalizing, Splitting};
use crate::error::{Error, Result, first_line};
use crate::model::Text;
use crate::model::json::{Object, parse_object};

/// The field of a converted model for the model type that the tokenizer's class goes by, where that
/// is not the base's.
pub const TOKENIZER_TYPE: &str = "tokenizer_model_type";

const QWEN_PATTERN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The class that transformers reads a checkpoint's tokenizer with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// One that takes the file as it is.
    AsFile,
    Gpt2,
    Llama,
    Qwen2,
}

impl Class {
    /// The class by `tokenizer_config.json` and the files that `find` finds.
    ///
    /// # Errors
    /// [`Error::File`] where config.json is no JSON object.
    pub fn of<'t>(config: &File, find: &impl Fn(&str) -> Option<&'t Text>) -> Result<Self> {
        let Some(model) = find("config.json") else {
            return Ok(Self::AsFile);
        };
        let model = parse_object(&model.file, &model.text)?;
        let is_byte_level =
            find("tokenizer.json").is_some_and(|file| file.text.contains("\"ByteLevel\""));
        let named = |fields: &Map<String, Value>| {
            let name = fields.get("tokenizer_class")?.as_str()?;
            Some(name.strip_suffix("Fast").unwrap_or(name).to_string())
        };
        let name = named(&config.fields).or_else(|| named(&model));
        let text = |name: &str| model.get(name).and_then(Value::as_str);
        // A converted model splits text as the one it was made of.
        let model_type = match text("model_type") {
            Some("ztt") => text(TOKENIZER_TYPE).or_else(|| text("base_model_type")),
            other => other,
        };
        let by_model = match model_type {
            Some("gpt2") => Self::Gpt2,
            Some("qwen2" | "qwen3") => Self::Qwen2,
            _ => Self::AsFile,
        };
        Ok(match (model_type, name.as_deref()) {
            // The class that these checkpoints name is known to be wrong.
            (Some("qwen2"), _) => Self::Qwen2,
            (_, None) => by_model,
            (Some("llama" | "gpt2" | "qwen3"), Some(name)) => match name {
                "GPT2Tokenizer" => Self::Gpt2,
                "Qwen2Tokenizer" => Self::Qwen2,
                "LlamaTokenizer" if !is_byte_level => Self::Llama,
                _ => Self::AsFile,
            },
            _ => Self::AsFile,
        })
    }

    /// The special tokens it has where the files say nothing of their roles.
    pub fn special_tokens(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::AsFile => &[],
            Self::Gpt2 => &[
                ("bos_token", "<|endoftext|>"),
                ("eos_token", "<|endoftext|>"),
                ("unk_token", "<|endoftext|>"),
            ],
            Self::Llama => &[
                ("bos_token", "<s>"),
                ("eos_token", "</s>"),
                ("unk_token", "<unk>"),
            ],
            Self::Qwen2 => &[
                ("eos_token", "<|endoftext|>"),
                ("unk_token", "<|endoftext|>"),
                ("pad_token", "<|endoftext|>"),
            ],
        }
    }

    /// Whether the padding saved in `tokenizer.json` names a padding token for it: some classes
    /// name their own, be it none.
    pub fn takes_saved_pad(self) -> bool {
        matches!(self, Self::AsFile | Self::Llama)
    }

    /// `inner` as this class has it; added tokens are yet to be added where it is changed.
    ///
    /// # Errors [`Error::Field`] where a field of `config` is malformed.
    pub fn rebuilt(self, inner: Inner, config: &Object) -> Result<Inner> {
        let parts = match self {
            Self::AsFile => return Ok(inner),
            Self::Gpt2 => Parts::gpt2(config)?,
            Self::Llama => Parts::llama(config)?,
            Self::Qwen2 => Parts::qwen2(config)?,
        };
        let ModelWrapper::BPE(bpe) = inner.get_model() else {
            return Ok(inner);
        };
        let is_llama = self == Self::Llama;
        let mut bpe: BPE = bpe.clone();
        bpe.dropout = None;
        bpe.unk_token = None;
        bpe.continuing_subword_prefix = None;
        bpe.end_of_word_suffix = None;
        bpe.fuse_unk = is_llama;
        bpe.byte_fallback = is_llama;
        bpe.ignore_merges = false;
        let mut rebuilt = Inner::new(bpe.into());
        rebuilt.with_normalizer(parts.normalizer);
        rebuilt.with_pre_tokenizer(Some(parts.splitter));
        rebuilt.with_decoder(Some(parts.decoder));
        rebuilt.with_post_processor(inner.get_post_processor().cloned());
        Ok(rebuilt)
    }
}

/// The components that a class has of its own.
struct Parts {
    normalizer: Option<Normalizing>,
    splitter: Splitting,
    decoder: Decoding,
}

impl Parts {
    fn gpt2(config: &Object) -> Result<Self> {
        let has_prefix = config.flag("add_prefix_space", false)?;
        Ok(Self {
            normalizer: None,
            splitter: part(byte_level(has_prefix, true))?,
            decoder: part(byte_level(true, true))?,
        })
    }

    fn llama(config: &Object) -> Result<Self> {
        let has_prefix = config.flag("add_prefix_space", true)?;
        let scheme = match (has_prefix, config.flag("legacy", false)?) {
            (false, _) => "never",
            (true, false) => "first",
            (true, true) => "always",
        };
        let mut decoders = vec![
            json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        if has_prefix {
            decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        let splitter = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme,
                              "split": false});
        Ok(Self {
            normalizer: None,
            splitter: part(splitter)?,
            decoder: part(json!({"type": "Sequence", "decoders": decoders}))?,
        })
    }

    fn qwen2(config: &Object) -> Result<Self> {
        let has_prefix = config.flag("add_prefix_space", false)?;
        let split = json!({"type": "Split", "pattern": {"Regex": QWEN_PATTERN},
                           "behavior": "Isolated", "invert": false});
        let both = [split, byte_level(has_prefix, false)];
        Ok(Self {
            normalizer: Some(part(json!({"type": "NFC"}))?),
            splitter: part(json!({"type": "Sequence", "pretokenizers": both}))?,
            decoder: part(byte_level(true, true))?,
        })
    }
}

fn byte_level(has_prefix: bool, use_regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": has_prefix, "trim_offsets": true,
           "use_regex": use_regex})
}

fn part<T: DeserializeOwned>(value: Value) -> Result<T> {
    let refused = |e| Error::file("tokenizer.json", "a tokenizer", first_line(e));
    serde_json::from_value(value).map_err(refused)
}
