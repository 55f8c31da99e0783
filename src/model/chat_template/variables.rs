//! Variables of a chat template that are set from outside, such as `enable_thinking`.

use std::slice;

use serde_json::{Map, Value};

use super::limits::{MAX_DEPTH, count};
use crate::error::Result;
use crate::model::json::{Object, parse_object};
use crate::model::python_json::not_finite;

/// What an error expects in the place of a variable that cannot be set.
pub const EXPECTED: &str = "a variable that the chat template reads and nothing else sets";

/// Names that are set for every template: what a conversation is made of, special tokens, and
/// functions.
const RESERVED: &[&str] = &[
    "add_generation_prompt",
    "additional_special_tokens",
    "bos_token",
    "cls_token",
    "continue_final_message",
    "cycler",
    "dict",
    "documents",
    "eos_token",
    "joiner",
    "loop",
    "mask_token",
    "messages",
    "namespace",
    "pad_token",
    "raise_exception",
    "range",
    "self",
    "sep_token",
    "strftime_now",
    "tools",
    "unk_token",
];

/// Values of variables, by their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Variables(Map<String, Value>);

impl Variables {
    /// Reads a JSON object, where `null` is Python's `None`.
    ///
    /// ```
    /// use ztt_wgpu::model::chat_template::Variables;
    ///
    /// assert!(Variables::parse(r#"{"enable_thinking": false}"#).is_ok());
    /// assert!(Variables::parse(r#"{"messages": []}"#).is_err());
    /// ```
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) where `text` is no JSON object, and those of
    /// [`Self::read`].
    pub fn parse(text: &str) -> Result<Self> {
        const NAME: &str = "variables";
        let fields = parse_object(NAME, text)?;
        Self::read(&Object::new(NAME, &fields))
    }

    /// The fields of `object`.
    ///
    /// # Errors
    /// [`Error::Field`](crate::Error::Field) where one has a name that is set for every template,
    /// or that is none of a variable, and where a value is too deep or has a number that is not
    /// finite.
    pub fn read(object: &Object) -> Result<Self> {
        let mut fields = Map::new();
        for (name, value) in object.fields() {
            if !is_name(name) {
                return Err(object.error(name, EXPECTED, "what is no name of a variable"));
            }
            if RESERVED.contains(&name.as_str()) {
                return Err(object.error(name, EXPECTED, "one that is set for every template"));
            }
            if count(slice::from_ref(value), MAX_DEPTH).is_none() {
                let expected = format!("at most {MAX_DEPTH} values inside each other");
                return Err(object.error(name, &expected, "more"));
            }
            if !is_finite(value) {
                return Err(object.error(name, "finite numbers", "another"));
            }
            fields.insert(name.clone(), value.clone());
        }
        Ok(Self(fields))
    }

    /// These, and those of `defaults` that are not among them.
    pub fn over(&self, defaults: &Self) -> Self {
        let mut fields = defaults.0.clone();
        fields.extend(
            self.iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        Self(fields)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter()
    }

    /// The fields as a template is given them.
    pub(super) fn fields(&self) -> &Map<String, Value> {
        &self.0
    }

    /// How many values these are with those inside them.
    pub(super) fn n_values(&self) -> usize {
        let counts = self.0.values();
        let counts = counts.map(|value| count(slice::from_ref(value), MAX_DEPTH));
        counts.map(|n| n.unwrap_or(0)).sum()
    }
}

/// Whether a template can read a variable of this name.
fn is_name(name: &str) -> bool {
    let begins = |c: char| c == '_' || c.is_ascii_alphabetic();
    name.starts_with(begins) && !name.starts_with("__") && name.chars().all(is_part)
}

/// Whether names of variables may have this character.
fn is_part(c: char) -> bool {
    c == '_' || c.is_ascii_alphanumeric()
}

/// Whether all numbers in `value` are finite: JSON's own always are.
fn is_finite(value: &Value) -> bool {
    not_finite(value).is_none()
        && match value {
            Value::Array(items) => items.iter().all(is_finite),
            Value::Object(fields) => fields.values().all(is_finite),
            _ => true,
        }
}

/// Whether a template of this `source` has the name, be it in a text.
pub fn has_name(source: &str, name: &str) -> bool {
    source.match_indices(name).any(|(at, _)| {
        let before = source[..at].chars().next_back();
        let after = source[at + name.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_set_already_are_refused() {
        for (text, words) in [
            (r#"{"tools": []}"#, ["`tools`", "set for every template"]),
            (r#"{"bos_token": "a"}"#, ["`bos_token`", "set for every"]),
            (r#"{"messages": null}"#, ["`messages`", "set for every"]),
            (r#"{"__keep__": 1}"#, ["`__keep__`", "no name"]),
            (r#"{"": 1}"#, ["``", "no name"]),
            (r#"{"a b": 1}"#, ["`a b`", "no name"]),
            (r#"{"a": [{"b": NaN}]}"#, ["`a`", "finite numbers"]),
            ("[1]", ["a JSON object", "an array"]),
            ("{", ["valid JSON", "EOF"]),
        ] {
            let error = Variables::parse(text).unwrap_err().to_string();
            assert!(words.iter().all(|w| error.contains(w)), "{text}: {error}");
        }
    }

    #[test]
    fn later_values_win_by_their_names() {
        let parse = |text: &str| Variables::parse(text).unwrap();
        let defaults = parse(r#"{"a": 1, "b": {"c": [2, 3]}}"#);
        assert_eq!(defaults.n_values(), 5);
        let found = parse(r#"{"b": null, "d": 4}"#).over(&defaults);
        assert_eq!(found, parse(r#"{"a": 1, "b": null, "d": 4}"#));
    }

    #[test]
    fn names_are_whole_words() {
        let source = "{{ enable_thinking }}";
        assert!(has_name(source, "enable_thinking"));
        for other in ["enable", "thinking", "enable_thinking_", "a"] {
            assert!(!has_name(source, other), "{other}");
        }
    }
}
