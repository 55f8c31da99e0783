//! Limits on a `tokenizer.json`, checked before the library reads it: the library takes the memory,
//! the time and the stack that a file asks for, and ends the program over some of it.
//!
//! The limits are far beyond the tokenizers of models.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::components::{self, Complaint, complaint};
use super::limits::{
    MAX_AFFIX, MAX_ID, MAX_TOKEN, MAX_UNIGRAM, MAX_UNIGRAM_BYTES, MAX_WORD, Tokens,
};
use crate::error::{Error, Result, first_line};

/// The fields that are looked at. Those that are missing or of a wrong kind are left to the
/// library to refuse.
#[derive(Deserialize)]
struct File<'t> {
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
    #[serde(default, borrow)]
    added_tokens: Vec<Added<'t>>,
    #[serde(borrow)]
    model: Option<Model<'t>>,
}

#[derive(Deserialize)]
struct Added<'t> {
    id: u64,
    #[serde(borrow)]
    content: Cow<'t, str>,
}

#[derive(Deserialize)]
struct Model<'t> {
    #[serde(default, borrow)]
    vocab: Vocabulary<'t>,
    unk_id: Option<Value>,
    continuing_subword_prefix: Option<Value>,
    end_of_word_suffix: Option<Value>,
    max_input_chars_per_word: Option<Value>,
}

/// Tokens with their ids, in a Unigram their places.
#[derive(Default)]
struct Vocabulary<'t> {
    tokens: Vec<(u64, Cow<'t, str>)>,
    is_list: bool,
}

/// A string that is borrowed from the file where it can be.
#[derive(Deserialize)]
struct Name<'t>(#[serde(borrow)] Cow<'t, str>);

impl<'de: 't, 't> Deserialize<'de> for Vocabulary<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(Reading)
    }
}

struct Reading;

impl<'de> Visitor<'de> for Reading {
    type Value = Vocabulary<'de>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("tokens with their ids or scores")
    }

    fn visit_map<A: MapAccess<'de>>(
        self,
        mut map: A,
    ) -> std::result::Result<Self::Value, A::Error> {
        let mut tokens = Vec::new();
        while let Some(Name(token)) = map.next_key()? {
            tokens.push((map.next_value()?, token));
        }
        Ok(Vocabulary {
            tokens,
            is_list: false,
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(
        self,
        mut list: A,
    ) -> std::result::Result<Self::Value, A::Error> {
        let mut tokens = Vec::new();
        while let Some((Name(token), _)) = list.next_element::<(Name, f64)>()? {
            tokens.push((tokens.len() as u64, token));
        }
        Ok(Vocabulary {
            tokens,
            is_list: true,
        })
    }
}

/// Refuses settings that no tokenizer needs; `file` names the file in errors. The added tokens with
/// the ids that the file gives them.
///
/// # Errors
/// [`Error::File`] where `text` is no tokenizer at all, [`Error::Field`] where a field asks for
/// too much.
pub fn check(file: &str, text: &str) -> Result<Vec<(u32, String)>> {
    let read: File = match serde_json::from_str(text) {
        Ok(read) => read,
        Err(error) => return Err(Error::file(file, "a tokenizer", first_line(error))),
    };
    let field = |(field, expected, found): Complaint| Error::Field {
        file: file.to_string(),
        field,
        expected,
        found,
    };
    added(&read.added_tokens).map_err(field)?;
    if let Some(model) = &read.model {
        check_model(model).map_err(field)?;
    }
    components::normalizer(&read.normalizer).map_err(field)?;
    components::pre_tokenizer(&read.pre_tokenizer).map_err(field)?;
    components::post_processor(&read.post_processor).map_err(field)?;
    components::decoder(&read.decoder).map_err(field)?;
    let added = read.added_tokens.into_iter();
    Ok(added
        .filter_map(|token| Some((u32::try_from(token.id).ok()?, token.content.into_owned())))
        .collect())
}

fn added(tokens: &[Added]) -> std::result::Result<(), Complaint> {
    let mut all = Tokens::default();
    for token in tokens {
        check_id("added_tokens", token.id)?;
        let refuse = |(expected, found)| complaint("added_tokens", expected, found);
        all.add(&token.content).map_err(refuse)?;
    }
    Ok(())
}

fn check_id(field: &str, id: u64) -> std::result::Result<(), Complaint> {
    match id <= MAX_ID {
        true => Ok(()),
        false => Err(complaint(
            field,
            format!("ids of at most {MAX_ID}"),
            id.to_string(),
        )),
    }
}

fn check_model(model: &Model) -> std::result::Result<(), Complaint> {
    let tokens = &model.vocab.tokens;
    let max = match model.vocab.is_list {
        true => MAX_UNIGRAM,
        false => MAX_TOKEN,
    };
    if let Some((_, long)) = tokens.iter().find(|(_, token)| token.len() > max) {
        let expected = format!("tokens of at most {max} bytes");
        return Err(complaint(
            "model.vocab",
            expected,
            format!("one of {}", long.len()),
        ));
    }
    match model.vocab.is_list {
        true => {
            let n_bytes: usize = tokens.iter().map(|(_, token)| token.len()).sum();
            if n_bytes > MAX_UNIGRAM_BYTES {
                let expected = format!("at most {MAX_UNIGRAM_BYTES} bytes of tokens");
                return Err(complaint("model.vocab", expected, n_bytes.to_string()));
            }
            let unknown = model.unk_id.as_ref().filter(|id| !id.is_null());
            if let Some(id) = unknown
                && id.as_u64().is_none_or(|id| id >= tokens.len() as u64)
            {
                let expected = format!("the place of one of the {} tokens", tokens.len());
                return Err(complaint(
                    "model.unk_id",
                    expected,
                    crate::model::json::kind(id),
                ));
            }
        }
        false => check_ids(tokens)?,
    }
    for (name, value) in [
        (
            "model.continuing_subword_prefix",
            &model.continuing_subword_prefix,
        ),
        ("model.end_of_word_suffix", &model.end_of_word_suffix),
    ] {
        let length = value.as_ref().and_then(Value::as_str).map_or(0, str::len);
        if length > MAX_AFFIX {
            let expected = format!("at most {MAX_AFFIX} bytes");
            return Err(complaint(name, expected, length.to_string()));
        }
    }
    let word = model
        .max_input_chars_per_word
        .as_ref()
        .and_then(Value::as_u64);
    match word {
        Some(n) if n > MAX_WORD => {
            let expected = format!("at most {MAX_WORD}");
            let field = "model.max_input_chars_per_word";
            Err(complaint(field, expected, n.to_string()))
        }
        _ => Ok(()),
    }
}

/// Refuses ids that are too large, and tokens that share one: which of them it is the library
/// draws by chance.
fn check_ids(tokens: &[(u64, Cow<str>)]) -> std::result::Result<(), Complaint> {
    let mut by_id: Vec<(u64, &str)> = tokens.iter().map(|(id, token)| (*id, &**token)).collect();
    by_id.sort_unstable();
    if let Some(&(id, _)) = by_id.last() {
        check_id("model.vocab", id)?;
    }
    match by_id
        .windows(2)
        .find(|two| two[0].0 == two[1].0 && two[0].1 != two[1].1)
    {
        Some(two) => {
            let cut = |token: &str| token.chars().take(40).collect::<String>();
            let found = format!(
                "`{}` and `{}` with id {}",
                cut(two[0].1),
                cut(two[1].1),
                two[0].0
            );
            Err(complaint(
                "model.vocab",
                "an id of its own for each token".to_string(),
                found,
            ))
        }
        None => Ok(()),
    }
}
