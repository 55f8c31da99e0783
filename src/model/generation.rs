//! `generation_config.json`.

use super::config::token_ids;
use super::json::{Object, parse_object};
use crate::error::Result;

/// What the model's makers suggest for sampling.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenerationConfig {
    pub temperature: Option<f64>,
    pub top_k: Option<usize>,
    pub top_p: Option<f64>,
    pub min_p: Option<f64>,
    pub repeat_penalty: Option<f64>,
    pub max_tokens: Option<usize>,
    /// `do_sample`: false asks for greedy decoding.
    pub sample: Option<bool>,
    pub bos: Option<u32>,
    pub eos: Vec<u32>,
}

impl GenerationConfig {
    /// Reads `text`; `file` names it in errors.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let fields = parse_object(file, text)?;
        let json = Object::new(file, &fields);
        Ok(Self {
            temperature: json.number("temperature")?,
            top_k: json.whole("top_k")?,
            top_p: json.number("top_p")?,
            min_p: json.number("min_p")?,
            repeat_penalty: json.number("repetition_penalty")?,
            max_tokens: json.whole("max_new_tokens")?,
            sample: json.get("do_sample").and_then(|v| v.as_bool()),
            bos: token_ids(&json, "bos_token_id")?.first().copied(),
            eos: token_ids(&json, "eos_token_id")?,
        })
    }
}
