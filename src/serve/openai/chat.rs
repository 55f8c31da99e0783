//! The body of a request to /v1/chat/completions.

use serde_json::Value;

use super::fields::{check_names, parse};
use super::parsing::BODY;
use super::{Generation, RequestMessage};
use crate::error::Result;
use crate::model::chat_template::Variables;
use crate::model::json::{Object, kind};

/// The most `top_logprobs`, as OpenAI has it.
const MAX_TOP: usize = 20;

/// The fields that are read here.
const FIELDS: [&str; 5] = [
    ChatRequest::VARIABLES,
    "logprobs",
    "max_completion_tokens",
    "messages",
    "top_logprobs",
];

/// A conversation to be answered.
pub struct ChatRequest {
    pub messages: Vec<RequestMessage>,
    /// Of the chat template.
    pub variables: Variables,
    pub generation: Generation,
    /// See [`Job::n_top`](crate::serve::batching::Job::n_top).
    pub n_top: Option<usize>,
}

impl ChatRequest {
    /// The field with variables of the chat template.
    pub const VARIABLES: &str = "chat_template_kwargs";

    /// Reads a body.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) where it is no JSON object,
    /// [`Error::Field`](crate::Error::Field) where a field is not known, not implemented, missing,
    /// or has an impossible value.
    pub fn parse(body: &[u8]) -> Result<Self> {
        let fields = parse(body, &["messages", Self::VARIABLES])?;
        check_names(&fields, &[&FIELDS, &Generation::FIELDS])?;
        let body = Object::new(BODY, &fields);
        let mut generation = Generation::read(&body)?;
        generation.max_tokens = body
            .whole("max_completion_tokens")?
            .or(generation.max_tokens);
        Ok(Self {
            messages: messages(&body)?,
            variables: variables(&body)?,
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
        // None of the likeliest beside none.
        (false, None | Some(0)) => Ok(None),
        (false, Some(_)) => {
            let expected = "none where `logprobs` is not true";
            Err(body.error("top_logprobs", expected, "one"))
        }
    }
}

/// Values that are false count: they set their variables.
fn variables(body: &Object) -> Result<Variables> {
    const FIELD: &str = ChatRequest::VARIABLES;
    match body.asked(FIELD) {
        None => Ok(Variables::default()),
        Some(Value::Object(fields)) => Variables::read(&Object::nested(BODY, FIELD, fields)),
        Some(other) => Err(body.error(FIELD, "an object", &kind(other))),
    }
}

fn messages(body: &Object) -> Result<Vec<RequestMessage>> {
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
        .map(|(i, value)| RequestMessage::read(&format!("{FIELD}[{i}]"), value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Role;
    use super::*;

    fn parse(body: &str) -> Result<ChatRequest, String> {
        ChatRequest::parse(body.as_bytes()).map_err(|e| e.to_string())
    }

    #[test]
    fn fields_are_read() {
        let request = parse(
            r#"{"messages": [{"role": "developer", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "a"},
                                             {"type": "text", "text": "b"}]}],
                "max_tokens": 9, "max_completion_tokens": 7, "stop": ["x", ""], "seed": -1,
                "logprobs": true, "top_logprobs": 2, "user": "me"}"#,
        )
        .unwrap();
        let texts: Vec<_> = (request.messages.iter())
            .map(|m| (m.role, m.content.joined()))
            .collect();
        let expected = [(Role::Developer, "Be brief."), (Role::User, "ab")];
        assert_eq!(texts, expected.map(|(role, text)| (role, text.to_string())));
        assert_eq!(request.n_top, Some(2));
        assert!(request.variables.is_empty());
        let generation = request.generation;
        assert_eq!(generation.max_tokens, Some(7));
        assert_eq!(
            (generation.stop, generation.seed),
            (vec!["x".to_string()], Some(u64::MAX))
        );
    }

    #[test]
    fn fields_that_are_left_open_are_as_if_absent() {
        for left_open in ["null", "false", "[]", "{}"] {
            let fields = ["logprobs", "max_completion_tokens", "model", "top_logprobs"];
            let fields = [&fields[..], &[ChatRequest::VARIABLES]].concat();
            let fields = fields.iter().chain(&Generation::FIELDS);
            let fields = fields.map(|name| format!(r#", "{name}": {left_open}"#));
            let fields: String = fields.collect();
            let messages = r#""messages": [{"role": "user", "content": "a"}]"#;
            let request = parse(&format!("{{{messages}{fields}}}")).unwrap();
            let generation = request.generation;
            assert_eq!((request.n_top, generation.max_tokens), (None, None));
            assert_eq!((generation.n, generation.stream), (1, false));
            assert_eq!((generation.model, generation.seed), (None, None));
        }
        let hello = r#"{"messages": [{"role": "user", "content": "Hello"}]"#;
        for fields in [
            r#""logprobs": false, "top_logprobs": 0"#,
            r#""top_k": -1"#,
            r#""stream_options": {"include_usage": false}"#,
            r#""stream": true, "stream_options": {"include_obfuscation": false}"#,
            r#""stream": true, "stream_options": {"include_obfuscation": true, "x": null}"#,
        ] {
            let read = parse(&format!("{hello}, {fields}}}"));
            assert!(read.is_ok(), "{fields}: {:?}", read.err());
        }
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
            (r#""messages": ["a"]"#, "`messages[0]`: expected an object"),
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
                &format!(r#"{hello}, "stream_options": {{"include_usage": true}}"#),
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
            (
                &format!(r#"{hello}, "chat_template_kwargs": "a""#),
                "`chat_template_kwargs`: expected an object, found `a`",
            ),
            (
                &format!(r#"{hello}, "chat_template_kwargs": {{"tools": false}}"#),
                "`chat_template_kwargs.tools`",
            ),
            (&format!(r#"{hello}, "n": 0"#), "`n`"),
            (&format!(r#"{hello}, "top_k": -2"#), "`top_k`"),
            (&format!(r#"{hello}, "seed": 1.5"#), "`seed`"),
            (&format!(r#"{hello}, "echo_": 1"#), "`echo_`"),
            (&format!(r#"{hello}, "prompt": "x""#), "`prompt`"),
        ] {
            let error = parse(&format!("{{{fields}}}")).err().unwrap_or_default();
            assert!(error.contains(words), "{fields}: {error}");
        }
    }
}
