//! The fields that chats and completions have in common.

use serde_json::Value;

use super::depth::Depth;
use super::fields::without_nothing;
use super::parsing::BODY;
use crate::engine::sampling::SamplingOptions;
use crate::error::Result;
use crate::model::generation::REPEAT_PENALTIES;
use crate::model::json::{Object, kind};

/// Stop texts that a request may have.
const MAX_STOPS: usize = 4;

/// Bytes that each of them may have.
const MAX_STOP_BYTES: usize = 1024;

/// Texts of one prompt that a request may ask for.
const MAX_TEXTS: usize = 128;

/// How texts are generated, as far as the request says.
#[derive(Clone, Debug)]
pub struct Generation {
    pub model: Option<String>,
    temperature: Option<f64>,
    top_k: Option<usize>,
    top_p: Option<f64>,
    min_p: Option<f64>,
    repeat_penalty: Option<f64>,
    pub seed: Option<u64>,
    pub depth: Depth,
    /// Texts of each prompt.
    pub n: usize,
    pub max_tokens: Option<usize>,
    /// Not empty, each.
    pub stop: Vec<String>,
    pub stream: bool,
    /// Whether a stream ends with the usage.
    pub include_usage: bool,
}

impl Generation {
    /// The fields that are read here.
    pub const FIELDS: [&str; 13] = [
        "max_tokens",
        "min_p",
        "model",
        "n",
        "repeat_penalty",
        "seed",
        "stop",
        "stream",
        "stream_options",
        "temperature",
        "top_k",
        "top_p",
        Depth::FIELD,
    ];

    /// Reads the fields of a body.
    ///
    /// # Errors
    /// [`Error::Field`](crate::Error::Field) where one has an impossible value.
    pub fn read(body: &Object) -> Result<Self> {
        let fraction = |field| {
            let is_fraction = |x: f64| (0.0..=1.0).contains(&x);
            body.number_that(field, "a number from 0 to 1", is_fraction)
        };
        let stream = body.flag("stream", false)?;
        let n = body.whole_from("n", 1, Some(1))?;
        if n > MAX_TEXTS {
            let expected = format!("at most {MAX_TEXTS}");
            return Err(body.error("n", &expected, &n.to_string()));
        }
        Ok(Self {
            model: body.text("model")?.map(str::to_string),
            temperature: body.number_that("temperature", "a number of at least 0", |x| x >= 0.0)?,
            top_k: top_k(body)?,
            top_p: fraction("top_p")?,
            min_p: fraction("min_p")?,
            repeat_penalty: body.number_that(
                "repeat_penalty",
                "a number from 0.001 to 1000",
                |x| REPEAT_PENALTIES.contains(&x),
            )?,
            seed: seed(body)?,
            depth: Depth::read(body)?,
            n,
            max_tokens: body.whole("max_tokens")?,
            stop: stop(body)?,
            stream,
            include_usage: include_usage(body, stream)?,
        })
    }

    /// The options of the `i`-th text of a prompt, where `defaults` has the settings that the
    /// request does not and `seed` is that of the first.
    pub fn sampling(&self, defaults: &SamplingOptions, seed: u64, i: usize) -> SamplingOptions {
        SamplingOptions {
            temperature: self.temperature.unwrap_or(defaults.temperature),
            top_k: self.top_k.unwrap_or(defaults.top_k),
            top_p: self.top_p.unwrap_or(defaults.top_p),
            min_p: self.min_p.unwrap_or(defaults.min_p),
            repeat_penalty: self.repeat_penalty.unwrap_or(defaults.repeat_penalty),
            seed: seed.wrapping_add(i as u64),
            on_host: defaults.on_host,
        }
    }
}

/// How many of the likeliest tokens; 0 and -1 are all of them.
fn top_k(body: &Object) -> Result<Option<usize>> {
    const FIELD: &str = "top_k";
    if body.number(FIELD).is_ok_and(|k| k == Some(-1.0)) {
        return Ok(Some(0));
    }
    body.whole(FIELD)
}

/// A whole number of 64 bits, with a sign or without.
fn seed(body: &Object) -> Result<Option<u64>> {
    let Some(value) = body.get("seed") else {
        return Ok(None);
    };
    match value.as_u64().or(value.as_i64().map(i64::cast_unsigned)) {
        Some(seed) => Ok(Some(seed)),
        None => Err(body.error("seed", "a whole number of 64 bits", &value.to_string())),
    }
}

/// One string or a few. Empty ones stop nothing.
fn stop(body: &Object) -> Result<Vec<String>> {
    let expected = format!("a string or at most {MAX_STOPS} of them");
    let stops = match body.get("stop") {
        None => Vec::new(),
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(list)) => {
            let texts = list.iter().map(|v| v.as_str().map(str::to_string));
            let texts: Option<Vec<String>> = texts.collect();
            texts.ok_or_else(|| body.error("stop", &expected, "something else in the list"))?
        }
        Some(_) => return Err(body.error("stop", &expected, "neither")),
    };
    if stops.len() > MAX_STOPS {
        return Err(body.error("stop", &expected, &stops.len().to_string()));
    }
    if let Some(n) = stops.iter().map(String::len).find(|&n| n > MAX_STOP_BYTES) {
        let expected = format!("texts of at most {MAX_STOP_BYTES} bytes");
        return Err(body.error("stop", &expected, &format!("one of {n}")));
    }
    Ok(stops.into_iter().filter(|s| !s.is_empty()).collect())
}

fn include_usage(body: &Object, stream: bool) -> Result<bool> {
    const FIELD: &str = "stream_options";
    let fields = match body.get(FIELD) {
        None => return Ok(false),
        Some(Value::Object(fields)) => without_nothing(fields, &[]),
        Some(other) => return Err(body.error(FIELD, "an object", &kind(other))),
    };
    let options = Object::nested(BODY, FIELD, &fields);
    // Padding makes no difference to the text, and there is none here.
    options.check_names(&["include_obfuscation", "include_usage"])?;
    options.flag("include_obfuscation", false)?;
    let include_usage = options.flag("include_usage", false)?;
    if include_usage && !stream {
        let expected = "none without `stream`";
        return Err(body.error(FIELD, expected, "one"));
    }
    Ok(include_usage)
}
