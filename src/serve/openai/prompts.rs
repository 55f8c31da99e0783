//! The field `prompt` of a completion, read in each form that it may have: token ids take four
//! bytes each.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::model::json::kind;

/// Prompts that a request may have, however long the queue.
pub const MAX_PROMPTS: usize = 2048;

/// A prompt, as a text or as token ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    Text(String),
    Ids(Vec<u32>),
}

/// The value of the field `prompt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Nothing,
    Prompts(Vec<Prompt>),
    TooMany,
    /// Something else, as errors show it.
    Other(String),
}

/// Reads the field.
pub struct Prompts;

impl<'de> DeserializeSeed<'de> for Prompts {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        Ok(match (Item { depth: 0 }).deserialize(deserializer)? {
            Read::Text(text) => Found::Prompts(vec![Prompt::Text(text)]),
            Read::Null => Found::Nothing,
            Read::Id(id) => Found::Other(id.to_string()),
            Read::Ids(ids) => Found::Prompts(vec![Prompt::Ids(ids)]),
            Read::List(found) => found,
            Read::Other(shown) => Found::Other(shown),
        })
    }
}

/// A value within the field.
enum Read {
    Null,
    Text(String),
    Id(u32),
    /// At least one.
    Ids(Vec<u32>),
    /// A list of something else.
    List(Found),
    Other(String),
}

/// Reads a value: the field itself, something in its list, or something in a list there.
#[derive(Clone, Copy)]
struct Item {
    depth: usize,
}

impl Item {
    fn other<E>(self, value: impl Into<Value>) -> Result<Read, E> {
        Ok(Read::Other(kind(&value.into())))
    }
}

impl<'de> DeserializeSeed<'de> for Item {
    type Value = Read;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Read, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Item {
    type Value = Read;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a prompt")
    }

    fn visit_unit<E>(self) -> Result<Read, E> {
        Ok(Read::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Read, E> {
        self.other(value)
    }

    fn visit_u64<E>(self, value: u64) -> Result<Read, E> {
        match u32::try_from(value) {
            Ok(id) => Ok(Read::Id(id)),
            Err(_) => self.other(value),
        }
    }

    fn visit_i64<E>(self, value: i64) -> Result<Read, E> {
        self.other(value)
    }

    fn visit_f64<E>(self, value: f64) -> Result<Read, E> {
        self.other(value)
    }

    fn visit_str<E>(self, value: &str) -> Result<Read, E> {
        Ok(Read::Text(value.to_string()))
    }

    fn visit_string<E>(self, value: String) -> Result<Read, E> {
        Ok(Read::Text(value))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Read, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Read::Other("an object".to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Read, A::Error> {
        let item = Self {
            depth: self.depth + 1,
        };
        let (mut ids, mut prompts) = (Vec::new(), Vec::new());
        let mut wrong = None;
        while wrong.is_none() && self.depth < 2 {
            let Some(read) = items.next_element_seed(item)? else {
                break;
            };
            match read {
                Read::Id(id) if prompts.is_empty() => ids.push(id),
                Read::Text(text) if ids.is_empty() => prompts.push(Prompt::Text(text)),
                Read::Ids(inner) if ids.is_empty() => prompts.push(Prompt::Ids(inner)),
                _ => wrong = Some(Found::Other("something else in the list".to_string())),
            }
            if prompts.len() > MAX_PROMPTS {
                wrong = Some(Found::TooMany);
            }
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(match wrong {
            Some(wrong) => Read::List(wrong),
            None if !ids.is_empty() => Read::Ids(ids),
            None if prompts.is_empty() => Read::List(Found::Other("an empty list".to_string())),
            None => Read::List(Found::Prompts(prompts)),
        })
    }
}
