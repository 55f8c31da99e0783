//! From the bytes of a body to its fields, without more memory than a few times those bytes: a
//! value of JSON may have two bytes there and a hundred times as many once it is parsed.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::neutral::CHANGE_NOTHING;
use super::prompts::{Found, Prompts};
use crate::error::{Error, Result, first_line};
use crate::model::json::kind;
use crate::model::python_json;

/// How errors name the body of a request.
pub const BODY: &str = "request";

/// Values that a body may have, those of its lists and objects and their items included, besides
/// prompts and fields that change nothing.
const MAX_VALUES: usize = 65_536;

/// The fields of a body.
pub struct Parsed {
    pub fields: Map<String, Value>,
    /// The field `prompt`, where it is read on its own and is there.
    pub prompt: Option<Found>,
}

/// Parses a body, which must be one JSON object; `with_prompt` reads `prompt` on its own. Fields
/// that change nothing are left out.
pub fn parse(body: &[u8], with_prompt: bool) -> Result<Parsed> {
    let text = std::str::from_utf8(body);
    let text = text.map_err(|e| refused("UTF-8", &e.to_string()))?;
    match text.trim_start().as_bytes().first() {
        Some(b'{') => {}
        Some(b'[') => {
            return Err(match serde_json::from_str::<IgnoredAny>(text) {
                Ok(_) => refused("a JSON object", "an array"),
                Err(e) => refused("valid JSON", &first_line(e)),
            });
        }
        _ => {
            return Err(match serde_json::from_str::<Flat>(text) {
                Ok(Flat(value)) => refused("a JSON object", &kind(&value)),
                Err(e) => refused("valid JSON", &first_line(e)),
            });
        }
    }
    let left = Cell::new(MAX_VALUES);
    let read = |text: &str| {
        left.set(MAX_VALUES);
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let top = Top {
            left: &left,
            with_prompt,
        };
        let parsed = top.deserialize(&mut deserializer)?;
        deserializer.end().map(|()| parsed)
    };
    let parsed = read(text).or_else(|e| match python_json::tagged(text) {
        Some(tagged) if left.get() > 0 => read(&tagged),
        _ => Err(e),
    });
    parsed.map_err(|e| match left.get() {
        0 => refused(&format!("at most {MAX_VALUES} values"), "more"),
        _ => refused("valid JSON", &first_line(e)),
    })
}

fn refused(expected: &str, found: &str) -> Error {
    Error::File {
        file: BODY.to_string(),
        expected: expected.to_string(),
        found: found.to_string(),
    }
}

/// A value that is neither a list nor an object.
struct Flat(Value);

impl<'de> serde::Deserialize<'de> for Flat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Neither has any room.
        let left = Cell::new(1);
        Bounded { left: &left }.deserialize(deserializer).map(Self)
    }
}

/// The object that a body is.
struct Top<'a> {
    left: &'a Cell<usize>,
    with_prompt: bool,
}

impl<'de> DeserializeSeed<'de> for Top<'_> {
    type Value = Parsed;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Parsed, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Top<'_> {
    type Value = Parsed;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Parsed, A::Error> {
        let bounded = Bounded { left: self.left };
        let (mut fields, mut prompt) = (Map::new(), None);
        while let Some(name) = entries.next_key::<String>()? {
            bounded.count(1)?;
            if CHANGE_NOTHING.contains(&name.as_str()) {
                entries.next_value::<IgnoredAny>()?;
            } else if self.with_prompt && name == "prompt" {
                prompt = Some(entries.next_value_seed(Prompts)?);
            } else {
                let value = entries.next_value_seed(bounded)?;
                fields.insert(name, value);
            }
        }
        Ok(Parsed { fields, prompt })
    }
}

/// A value, of no more values than are left.
#[derive(Clone, Copy)]
struct Bounded<'a> {
    left: &'a Cell<usize>,
}

impl Bounded<'_> {
    /// Takes in that there are `n` more values.
    fn count<E: serde::de::Error>(self, n: usize) -> Result<(), E> {
        let left = self.left.get().saturating_sub(n);
        self.left.set(left);
        match left {
            0 => Err(E::custom("too many values")),
            _ => Ok(()),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        self.count(1)?;
        while let Some(value) = items.next_element_seed(self)? {
            self.count(1)?;
            list.push(value);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        self.count(1)?;
        while let Some(name) = entries.next_key::<String>()? {
            self.count(1)?;
            let value = entries.next_value_seed(self)?;
            // The arguments of calls are JSON in a string, and parsed as well.
            if let (Value::String(text), "arguments") = (&value, name.as_str()) {
                let between = |b: &&u8| matches!(b, b',' | b':' | b'[' | b'{');
                self.count(text.as_bytes().iter().filter(between).count())?;
            }
            fields.insert(name, value);
        }
        Ok(fields.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(body: &str) -> String {
        parse(body.as_bytes(), false).err().unwrap().to_string()
    }

    #[test]
    fn values_are_those_of_the_body() {
        let body = r#" {"a": [1, -2, 0.5, "é\n", null, true, {"b": {}}], "c": NaN, "a2": 1e30} "#;
        let found = parse(body.as_bytes(), false).unwrap().fields;
        let expected = python_json::parse(body).unwrap();
        assert_eq!(Value::Object(found), expected);
        // The last one of a name counts, and fields that change nothing are not there.
        let found = parse(br#"{"a": 1, "a": 2, "user": [[]], "prompt": "b"}"#, true).unwrap();
        assert_eq!(found.fields.get("a"), Some(&2.into()));
        assert_eq!(found.fields.len(), 1);
        assert!(found.prompt.is_some());
    }

    #[test]
    fn many_values_are_refused() {
        let many = |n: usize, item: &str| vec![item; n].join(",");
        for body in [
            format!(r#"{{"stop": [{}]}}"#, many(70_000, "0")),
            format!(r#"{{"stop": {{{}}}}}"#, many(70_000, r#""a": []"#)),
            format!(r#"{{"x": [{}]}}"#, many(40_000, "[[]]")),
            format!(r#"{{"x": [{}, NaN]}}"#, many(70_000, "0")),
            format!(r#"{{"x": {{"arguments": "[{}]"}}}}"#, many(70_000, "0")),
        ] {
            assert!(error(&body).contains("at most 65536 values"));
        }
        let body = format!(
            r#"{{"x": [{}], "metadata": [{}]}}"#,
            many(60_000, "0"),
            many(90_000, "0")
        );
        assert!(parse(body.as_bytes(), false).is_ok());
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for (body, words) in [
            ("[1]", ["JSON object", "an array"]),
            ("3", ["JSON object", "3"]),
            (r#""a""#, ["JSON object", "`a`"]),
            ("", ["valid JSON", "EOF"]),
            ("[1", ["valid JSON", ""]),
            ("{", ["valid JSON", "EOF"]),
            ("{} {}", ["valid JSON", "trailing"]),
            (r#"{"a": nan}"#, ["valid JSON", ""]),
        ] {
            let error = error(body);
            assert!(words.iter().all(|w| error.contains(w)), "{body}: {error}");
        }
        let deep = format!(r#"{{"a": {}"#, "[".repeat(100_000));
        assert!(error(&deep).contains("recursion"));
    }
}
