//! The content of a message.

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::fields::without_nothing;
use super::message::{CHANGE_NOTHING, Role, object};
use super::parsing::BODY;
use crate::error::Result;
use crate::model::json::{Object, kind};

/// The text of a message, in parts. Templates see it in one string, or as a list of parts, which
/// some of them go through.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    parts: Vec<String>,
    /// Whether the request has a list of parts.
    pub was_list: bool,
    /// Whether the template is to see one.
    pub as_list: bool,
}

impl Content {
    /// In one string.
    pub fn text(text: &str) -> Self {
        Self {
            parts: vec![text.to_string()],
            was_list: false,
            as_list: false,
        }
    }

    /// Reads a string, or a list of text parts. Only an assistant may leave it out; `path` is how
    /// errors name the message.
    pub(super) fn read(message: &Object, path: &str, role: Role) -> Result<Self> {
        let expected = "a string or a list of text parts";
        match message.get("content") {
            Some(Value::String(text)) => Ok(Self::text(text)),
            Some(Value::Array(parts)) => {
                let parts = parts.iter().enumerate();
                let parts =
                    parts.map(|(i, value)| part(&format!("{path}.content[{i}]"), value, role));
                Ok(Self {
                    parts: parts.collect::<Result<_>>()?,
                    was_list: true,
                    as_list: false,
                })
            }
            None if role == Role::Assistant || message.has("content") => Ok(Self::text("")),
            Some(other) => Err(message.error("content", expected, &kind(other))),
            None => Err(message.error("content", expected, "nothing")),
        }
    }

    /// The texts of the parts, one after the other, as templates that read lists write them.
    pub fn joined(&self) -> String {
        self.parts.concat()
    }

    pub fn is_empty(&self) -> bool {
        self.parts.iter().all(String::is_empty)
    }

    /// Adds to the last part.
    pub fn push(&mut self, text: &str) {
        match self.parts.last_mut() {
            Some(last) => last.push_str(text),
            None => self.parts.push(text.to_string()),
        }
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if self.as_list {
            let parts = self.parts.iter();
            serializer.collect_seq(parts.map(|text| json!({"type": "text", "text": text})))
        } else {
            serializer.serialize_str(&self.joined())
        }
    }
}

/// A text, as a string or an object with one; an assistant may have refused in one, too.
fn part(path: &str, value: &Value, role: Role) -> Result<String> {
    if let Value::String(text) = value {
        return Ok(text.clone());
    }
    let fields = without_nothing(object(path, value)?, &["text", "type"]);
    let part = Object::nested(BODY, path, &fields);
    let field = match part.text("type")? {
        Some("refusal") if role == Role::Assistant => "refusal",
        Some("text") => "text",
        _ => {
            let found = part.get("type").map_or("nothing".to_string(), kind);
            return Err(part.error("type", "`text`", &found));
        }
    };
    part.check_names(&[&["type", field], &CHANGE_NOTHING[..]].concat())?;
    match part.text(field)? {
        Some(text) => Ok(text.to_string()),
        None if part.has(field) || field == "refusal" => Ok(String::new()),
        None => Err(part.error(field, "a string", "nothing")),
    }
}
