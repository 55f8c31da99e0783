//! `generation_config.json`.

use serde_json::Value;

use super::json::{Object, kind, parse_object};
use crate::error::Result;

/// Repeat penalties outside this range make logits overflow.
pub const REPEAT_PENALTIES: std::ops::RangeInclusive<f64> = 1e-3..=1e3;

/// The settings for sampling that the model's makers suggest.
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
        let is_fraction = |x: f64| (0.0..=1.0).contains(&x);
        Ok(Self {
            temperature: json.number_that("temperature", "at least 0", |x| x >= 0.0)?,
            top_k: json.whole("top_k")?,
            top_p: json.number_that("top_p", "a number from 0 to 1", is_fraction)?,
            min_p: json.number_that("min_p", "a number from 0 to 1", is_fraction)?,
            repeat_penalty: json.number_that(
                "repetition_penalty",
                "a number from 0.001 to 1000",
                |x| REPEAT_PENALTIES.contains(&x),
            )?,
            max_tokens: json.whole("max_new_tokens")?,
            sample: match json.get("do_sample") {
                Some(_) => Some(json.flag("do_sample", false)?),
                None => None,
            },
            bos: token_ids(&json, "bos_token_id")?.first().copied(),
            eos: token_ids(&json, "eos_token_id")?,
        })
    }
}

/// A token id or a list of them; absent is an empty list.
pub(super) fn token_ids(json: &Object, field: &str) -> Result<Vec<u32>> {
    let Some(value) = json.get(field) else {
        return Ok(Vec::new());
    };
    let list = match value {
        Value::Array(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    list.iter()
        .map(|id| {
            id.as_u64()
                .and_then(|n| u32::try_from(n).ok())
                .ok_or_else(|| json.error(field, "a token id", &kind(id)))
        })
        .collect()
}
