//! A message of a chat.

use serde::Serialize;
use serde_json::{Map, Value};

use super::calls;
use super::content::Content;
use super::fields::without_nothing;
use super::parsing::BODY;
use crate::error::{Error, Result};
use crate::model::json::{Object, kind};

/// The roles, as OpenAI calls them.
const ROLES: [(&str, Role); 6] = [
    ("assistant", Role::Assistant),
    ("developer", Role::Developer),
    (FUNCTION, Role::Tool),
    ("system", Role::System),
    ("tool", Role::Tool),
    ("user", Role::User),
];

/// OpenAI's first name for tools: functions are called and answer by their names.
const FUNCTION: &str = "function";

/// Fields that change no text at any value: where an answer's sources are, and which part of the
/// prompt a provider may keep.
pub(super) const CHANGE_NOTHING: [&str; 3] =
    ["annotations", "cache_control", "prompt_cache_breakpoint"];

/// Notes of programs about a message.
const NOTES: [&str; 3] = ["id", "status", "timestamp"];

/// Fields of an assistant's messages only.
const OF_ASSISTANT: [&str; 5] = [
    "function_call",
    "reasoning",
    "reasoning_content",
    "refusal",
    "tool_calls",
];

/// Who a message is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Assistant,
    /// OpenAI's newer name for `system`, which some templates tell apart.
    Developer,
    System,
    /// The result of a tool.
    Tool,
    User,
}

impl Role {
    pub const ALL: [Self; 5] = [
        Self::Assistant,
        Self::Developer,
        Self::System,
        Self::Tool,
        Self::User,
    ];
}

/// A message as templates see it: fields in OpenAI's order, those that say nothing left out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RequestMessage {
    pub role: Role,
    /// Empty where there is none.
    pub content: Content,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}

impl RequestMessage {
    /// Reads a message; `path` is how errors name it.
    ///
    /// # Errors
    /// [`Error::Field`] where a field is not known, missing, or has an impossible value.
    pub fn read(path: &str, value: &Value) -> Result<Self> {
        let fields = without_nothing(object(path, value)?, &["content", "role"]);
        let message = Object::nested(BODY, path, &fields);
        let expected = "`assistant`, `developer`, `system`, `tool` or `user`";
        let role = match message.get("role") {
            Some(Value::String(_)) => message.choice("role", &ROLES, Role::User)?,
            Some(other) => return Err(message.error("role", expected, &kind(other))),
            None => return Err(message.error("role", expected, "nothing")),
        };
        let is_function = message.text("role")? == Some(FUNCTION);
        let of_role: &[&str] = match role {
            Role::Assistant => &OF_ASSISTANT,
            Role::Tool => &["tool_call_id"],
            _ => &[],
        };
        let all = ["role", "content", "name", "type"];
        let known = [&all, of_role, &CHANGE_NOTHING, &NOTES].concat();
        message.check_names(&known)?;
        message.choice("type", &[("message", ())], ())?;
        let text =
            |field| -> Result<Option<String>> { Ok(message.text(field)?.map(str::to_string)) };
        let read = Self {
            role,
            content: content(&message, path, role)?,
            name: text("name")?,
            reasoning_content: text("reasoning_content")?.or(text("reasoning")?),
            tool_calls: calls::read(&message, path)?,
            tool_call_id: text("tool_call_id")?,
        };
        if is_function && read.name.is_none() {
            return Err(message.error("name", "that of the function", "nothing"));
        }
        if role == Role::Tool && read.tool_call_id.is_none() && !is_function {
            let expected = "the `id` of the tool call that this answers";
            return Err(message.error("tool_call_id", expected, "nothing"));
        }
        Ok(read)
    }
}

/// The content of a message, or the refusal of an assistant.
fn content(message: &Object, path: &str, role: Role) -> Result<Content> {
    let content = Content::read(message, path, role)?;
    match message.text("refusal")? {
        None => Ok(content),
        Some(refusal) if content.is_empty() => Ok(Content::text(refusal)),
        Some(_) => Err(message.error("refusal", "none beside `content`", "one")),
    }
}

pub(super) fn object<'a>(path: &str, value: &'a Value) -> Result<&'a Map<String, Value>> {
    value.as_object().ok_or_else(|| Error::Field {
        file: BODY.to_string(),
        field: path.to_string(),
        expected: "an object".to_string(),
        found: kind(value),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(message: Value) -> Result<Value, String> {
        let read = RequestMessage::read("messages[0]", &message).map_err(|e| e.to_string());
        read.map(|message| serde_json::to_value(message).unwrap())
    }

    #[test]
    fn what_says_nothing_is_left_out() {
        let nothing = json!({"annotations": [], "audio": null, "function_call": null,
                             "reasoning_content": "", "refusal": null, "tool_calls": [],
                             "name": null, "weight": false, "parsed": {}, "id": "m1", "timestamp": 3,
                             "status": "completed", "type": "message",
                             "provider_specific_fields": {"refusal": null, "a": {"b": []}}});
        for (role, content) in [
            ("assistant", json!("a")),
            (
                "user",
                json!([{"type": "text", "text": "a", "image_url": null}]),
            ),
            (
                "system",
                json!([{"type": "text", "text": ""},
                              {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]),
            ),
        ] {
            let mut message = nothing.clone();
            message["role"] = role.into();
            message["content"] = content;
            assert_eq!(read(message), Ok(json!({"role": role, "content": "a"})));
        }
        let empty = json!({"role": "assistant", "content": ""});
        assert_eq!(read(json!({"role": "assistant"})), Ok(empty.clone()));
        for content in [json!(null), json!([])] {
            let message = json!({"role": "assistant", "content": content});
            assert_eq!(read(message), Ok(empty.clone()));
        }
    }

    #[test]
    fn templates_see_names_and_calls() {
        let call = |arguments: Value| {
            json!({"id": "c1", "type": "function",
                   "function": {"name": "add", "arguments": arguments}})
        };
        let message = json!({"role": "assistant", "content": null, "name": "bob",
                             "tool_calls": [call(json!("{\"b\": 1, \"a\": [2]}")),
                                            call(json!("")), call(json!("{"))]});
        let expected = json!({"role": "assistant", "content": "", "name": "bob",
                              "tool_calls": [call(json!({"b": 1, "a": [2]})),
                                             call(json!({})), call(json!("{"))]});
        let found = read(message).unwrap();
        assert_eq!(found.to_string(), expected.to_string());
        let answer = json!({"role": "tool", "content": "3", "tool_call_id": "c1"});
        assert_eq!(read(answer.clone()), Ok(answer));
    }

    #[test]
    fn other_ways_of_saying_it_are_read() {
        let call = |arguments: Value| json!({"name": "add", "arguments": arguments});
        let called = json!([{"type": "function", "function": call(json!({"a": 1}))}]);
        for (message, expected) in [
            (
                json!({"role": "user", "content": ["Who ", {"type": "text", "text": "is it?"}]}),
                json!({"role": "user", "content": "Who is it?"}),
            ),
            (
                json!({"role": "assistant", "content": null, "refusal": "No."}),
                json!({"role": "assistant", "content": "No."}),
            ),
            (
                json!({"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}),
                json!({"role": "assistant", "content": "No."}),
            ),
            (
                json!({"role": "assistant", "content": "a", "reasoning": "b"}),
                json!({"role": "assistant", "content": "a", "reasoning_content": "b"}),
            ),
            (
                json!({"role": "function", "name": "add", "content": "3"}),
                json!({"role": "tool", "content": "3", "name": "add"}),
            ),
            (
                json!({"role": "assistant", "function_call": call(json!("{\"a\": 1}"))}),
                json!({"role": "assistant", "content": "", "tool_calls": called}),
            ),
        ] {
            assert_eq!(read(message), Ok(expected));
        }
    }

    #[test]
    fn errors_name_the_field() {
        for (message, words) in [
            (json!("a"), "`messages[0]`: expected an object"),
            (json!({"content": "a"}), "`messages[0].role`"),
            (
                json!({"role": "critic", "content": "a"}),
                "`messages[0].role`",
            ),
            (json!({"role": "user"}), "`messages[0].content`"),
            (
                json!({"role": "user", "content": 3}),
                "`messages[0].content`",
            ),
            (
                json!({"role": "user", "content": "", "nam": "x"}),
                "`messages[0].nam`",
            ),
            (
                json!({"role": "user", "content": "", "name": 3}),
                "`messages[0].name`",
            ),
            (
                json!({"role": "user", "content": "", "tool_calls": [{}]}),
                "`messages[0].tool_calls`",
            ),
            (
                json!({"role": "assistant", "content": "Yes.", "refusal": "No."}),
                "`messages[0].refusal`",
            ),
            (
                json!({"role": "user", "content": "", "refusal": "No."}),
                "`messages[0].refusal`",
            ),
            (
                json!({"role": "user", "content": [{"type": "refusal", "refusal": "No."}]}),
                "`messages[0].content[0].type`",
            ),
            (
                json!({"role": "assistant", "function_call": {"arguments": "{}"}}),
                "`messages[0].function_call.name`",
            ),
            (
                json!({"role": "function", "content": "3"}),
                "`messages[0].name`",
            ),
            (
                json!({"role": "user", "content": "", "type": "reasoning"}),
                "`messages[0].type`",
            ),
            (
                json!({"role": "user", "content": ["a", 3]}),
                "`messages[0].content[1]`",
            ),
            (
                json!({"role": "assistant", "tool_calls": [{"type": "custom"}]}),
                "`messages[0].tool_calls[0].type`",
            ),
            (
                json!({"role": "assistant", "tool_calls": [{"function": {}}]}),
                "`messages[0].tool_calls[0].function.name`",
            ),
            (
                json!({"role": "tool", "content": ""}),
                "`messages[0].tool_call_id`",
            ),
            (
                json!({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}),
                "`messages[0].content[0].type`: expected `text`, found `image_url`",
            ),
            (
                json!({"role": "user", "content": [{"type": "text"}]}),
                "`messages[0].content[0].text`",
            ),
        ] {
            let error = read(message.clone()).unwrap_err();
            assert!(error.contains(words), "{message}: {error}");
        }
    }
}
