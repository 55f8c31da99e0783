//! The body of a request to /v1/chat/completions.

use serde_json::{Map, Value};

use super::Generation;
use super::fields::{BODY, check_names, parse};
use crate::chat::Message;
use crate::error::{Error, Result};
use crate::model::json::{Object, kind};

/// The most `top_logprobs`, as OpenAI has it.
const MAX_TOP: usize = 20;

/// The fields that are read here.
const FIELDS: [&str; 4] = [
    "logprobs",
    "max_completion_tokens",
    "messages",
    "top_logprobs",
];

/// Roles and what templates call them.
const ROLES: [(&str, &str); 4] = [
    ("assistant", "assistant"),
    // OpenAI's newer name for the same.
    ("developer", "system"),
    ("system", "system"),
    ("user", "user"),
];

/// A conversation to be answered.
pub struct ChatRequest {
    pub messages: Vec<Message>,
    pub generation: Generation,
    /// See [`Job::n_top`](crate::serve::batching::Job::n_top).
    pub n_top: Option<usize>,
}

impl ChatRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Error::File`] where it is no JSON object, [`Error::Field`] where a field is not known,
    /// not implemented, missing, or has an impossible value.
    pub fn parse(body: &[u8]) -> Result<Self> {
        let fields = parse(body)?;
        check_names(&fields, &[&FIELDS, &Generation::FIELDS])?;
        let body = Object::new(BODY, &fields);
        let mut generation = Generation::read(&body)?;
        generation.max_tokens = body
            .whole("max_completion_tokens")?
            .or(generation.max_tokens);
        Ok(Self {
            messages: messages(&body)?,
            generation,
            n_top: n_top(&body)?,
        })
    }
}

fn n_top(body: &Object) -> Result<Option<usize>> {
    let n_top = body.whole("top_logprobs")?;
    match (body.flag("logprobs", false)?, n_top) {
        (true, None) => Ok(Some(0)),
        (true, Some(n)) if n <= MAX_TOP => Ok(Some(n)),
        (true, Some(n)) => {
            let expected = format!("at most {MAX_TOP}");
            Err(body.error("top_logprobs", &expected, &n.to_string()))
        }
        (false, None) => Ok(None),
        (false, Some(_)) => {
            let expected = "none where `logprobs` is not true";
            Err(body.error("top_logprobs", expected, "one"))
        }
    }
}

fn messages(body: &Object) -> Result<Vec<Message>> {
    const FIELD: &str = "messages";
    let expected = "a list of at least one message";
    let list = match body.get(FIELD) {
        Some(Value::Array(list)) if !list.is_empty() => list,
        Some(Value::Array(_)) => return Err(body.error(FIELD, expected, "an empty one")),
        Some(other) => return Err(body.error(FIELD, expected, &kind(other))),
        None => return Err(body.error(FIELD, expected, "nothing")),
    };
    let items = list.iter().enumerate();
    items
        .map(|(i, value)| message(&format!("{FIELD}[{i}]"), value))
        .collect()
}

fn message(path: &str, value: &Value) -> Result<Message> {
    let fields = object(path, value)?;
    let message = Object::nested(BODY, path, fields);
    message.check_names(&["role", "content"])?;
    let role = match message.get("role") {
        Some(_) => message.choice("role", &ROLES, "")?,
        None => return Err(message.error("role", "a string", "nothing")),
    };
    Ok(Message {
        role: role.to_string(),
        content: content(&message, path)?,
    })
}

/// A string, or the texts of a list of parts, one after the other.
fn content(message: &Object, path: &str) -> Result<String> {
    let expected = "a string or a list of text parts";
    match message.get("content") {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Array(parts)) => {
            let parts = parts.iter().enumerate();
            parts
                .map(|(i, value)| part(&format!("{path}.content[{i}]"), value))
                .collect()
        }
        Some(other) => Err(message.error("content", expected, &kind(other))),
        None => Err(message.error("content", expected, "nothing")),
    }
}

fn part(path: &str, value: &Value) -> Result<String> {
    let fields = object(path, value)?;
    let part = Object::nested(BODY, path, fields);
    if part.text("type")? != Some("text") {
        let found = part.get("type").map_or("nothing".to_string(), kind);
        return Err(part.error("type", "`text`", &found));
    }
    part.check_names(&["type", "text"])?;
    match part.text("text")? {
        Some(text) => Ok(text.to_string()),
        None => Err(part.error("text", "a string", "nothing")),
    }
}

fn object<'a>(path: &str, value: &'a Value) -> Result<&'a Map<String, Value>> {
    value.as_object().ok_or_else(|| Error::Field {
        file: BODY.to_string(),
        field: path.to_string(),
        expected: "an object".to_string(),
        found: kind(value),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<ChatRequest, String> {
        ChatRequest::parse(body.as_bytes()).map_err(|e| e.to_string())
    }

    #[test]
    fn content_is_a_string_or_parts_of_text() {
        let request = parse(
            r#"{"messages": [{"role": "developer", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "a"},
                                             {"type": "text", "text": "b"}]}],
                "max_tokens": 9, "max_completion_tokens": 7, "stop": ["x", ""], "seed": -1,
                "logprobs": true, "top_logprobs": 2, "user": "me"}"#,
        )
        .unwrap();
        let texts: Vec<_> = (request.messages.iter())
            .map(|m| (m.role.as_str(), m.content.as_str()))
            .collect();
        assert_eq!(texts, [("system", "Be brief."), ("user", "ab")]);
        assert_eq!(request.n_top, Some(2));
        let generation = request.generation;
        assert_eq!(generation.max_tokens, Some(7));
        assert_eq!(
            (generation.stop, generation.seed),
            (vec!["x".to_string()], Some(u64::MAX))
        );
    }

    #[test]
    fn errors_name_the_field() {
        let hello = r#""messages": [{"role": "user", "content": "Hello"}]"#;
        for (fields, words) in [
            (
                r#""messages": []"#,
                "`messages`: expected a list of at least one message",
            ),
            (
                r#""n": 1"#,
                "`messages`: expected a list of at least one message, found nothing",
            ),
            (
                r#""messages": [{"role": "tool", "content": ""}]"#,
                "`messages[0].role`",
            ),
            (
                r#""messages": [{"role": "user", "content": "", "name": "x"}]"#,
                "`messages[0].name`",
            ),
            (
                r#""messages": [{"role": "user", "content": [{"type": "image_url"}]}]"#,
                "`messages[0].content[0].type`: expected `text`, found `image_url`",
            ),
            (
                &format!(r#"{hello}, "temperature": -1"#),
                "`temperature`: expected a number of at",
            ),
            (&format!(r#"{hello}, "top_logprobs": 1"#), "`top_logprobs`"),
            (
                &format!(r#"{hello}, "logprobs": true, "top_logprobs": 21"#),
                "at most 20",
            ),
            (
                &format!(r#"{hello}, "stream_options": {{}}"#),
                "`stream_options`",
            ),
            (
                &format!(r#"{hello}, "stream": true, "stream_options": {{"a": 1}}"#),
                "`stream_options.a`",
            ),
            (
                &format!(r#"{hello}, "stop": ["1", "2", "3", "4", "5"]"#),
                "`stop`",
            ),
            (&format!(r#"{hello}, "n": 0"#), "`n`"),
            (&format!(r#"{hello}, "seed": 1.5"#), "`seed`"),
            (&format!(r#"{hello}, "echo_": 1"#), "`echo_`"),
            (&format!(r#"{hello}, "prompt": "x""#), "`prompt`"),
        ] {
            let error = parse(&format!("{{{fields}}}")).err().unwrap_or_default();
            assert!(error.contains(words), "{fields}: {error}");
        }
    }
}
