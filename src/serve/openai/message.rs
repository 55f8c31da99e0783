//! A message of a chat.

use serde::Serialize;
use serde_json::{Map, Value};

use super::fields::{BODY, without_nothing};
use crate::error::{Error, Result};
use crate::model::json::{Object, kind};

/// The roles, as OpenAI calls them.
const ROLES: [(&str, Role); 5] = [
    ("assistant", Role::Assistant),
    ("developer", Role::Developer),
    ("system", Role::System),
    ("tool", Role::Tool),
    ("user", Role::User),
];

/// Fields that change no text, whatever they say: where an answer's sources are, and what a
/// provider may keep of the prompt.
const CHANGE_NOTHING: [&str; 3] = ["annotations", "cache_control", "prompt_cache_breakpoint"];

/// Who a message is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Assistant,
    /// OpenAI's newer name for `system`, which some templates tell apart.
    Developer,
    System,
    /// What a tool gave.
    Tool,
    User,
}

/// A message as templates see it: fields in OpenAI's order, those that say nothing left out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RequestMessage {
    pub role: Role,
    /// Empty where there is none.
    pub content: String,
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
        let of_role: &[&str] = match role {
            Role::Assistant => &["reasoning_content", "tool_calls"],
            Role::Tool => &["tool_call_id"],
            _ => &[],
        };
        let known = [&["role", "content", "name"], of_role, &CHANGE_NOTHING].concat();
        message.check_names(&known)?;
        let text =
            |field| -> Result<Option<String>> { Ok(message.text(field)?.map(str::to_string)) };
        let read = Self {
            role,
            content: content(&message, path, role)?,
            name: text("name")?,
            reasoning_content: text("reasoning_content")?,
            tool_calls: tool_calls(&message, path)?,
            tool_call_id: text("tool_call_id")?,
        };
        if role == Role::Tool && read.tool_call_id.is_none() {
            let expected = "the `id` of the tool call that this answers";
            return Err(message.error("tool_call_id", expected, "nothing"));
        }
        Ok(read)
    }
}

/// A string, or the texts of a list of parts, one after the other, as templates that read lists
/// of parts write them. Only an assistant may leave it out.
fn content(message: &Object, path: &str, role: Role) -> Result<String> {
    let expected = "a string or a list of text parts";
    match message.get("content") {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Array(parts)) => {
            let parts = parts.iter().enumerate();
            parts
                .map(|(i, value)| part(&format!("{path}.content[{i}]"), value))
                .collect()
        }
        None if role == Role::Assistant || message.has("content") => Ok(String::new()),
        Some(other) => Err(message.error("content", expected, &kind(other))),
        None => Err(message.error("content", expected, "nothing")),
    }
}

fn part(path: &str, value: &Value) -> Result<String> {
    let fields = without_nothing(object(path, value)?, &["text", "type"]);
    let part = Object::nested(BODY, path, &fields);
    if part.text("type")? != Some("text") {
        let found = part.get("type").map_or("nothing".to_string(), kind);
        return Err(part.error("type", "`text`", &found));
    }
    part.check_names(&[&["type", "text"], &CHANGE_NOTHING[..]].concat())?;
    match part.text("text")? {
        Some(text) => Ok(text.to_string()),
        None if part.has("text") => Ok(String::new()),
        None => Err(part.error("text", "a string", "nothing")),
    }
}

/// The calls of an answer, their arguments as the objects that templates take them for.
fn tool_calls(message: &Object, path: &str) -> Result<Vec<Value>> {
    const FIELD: &str = "tool_calls";
    match message.get(FIELD) {
        None => Ok(Vec::new()),
        Some(Value::Array(calls)) => {
            let calls = calls.iter().enumerate();
            calls
                .map(|(i, call)| tool_call(&format!("{path}.{FIELD}[{i}]"), call))
                .collect()
        }
        Some(other) => Err(message.error(FIELD, "a list", &kind(other))),
    }
}

fn tool_call(path: &str, value: &Value) -> Result<Value> {
    let mut call = without_nothing(object(path, value)?, &["function"]);
    let read = Object::nested(BODY, path, &call);
    read.choice("type", &[("function", ())], ())?;
    let Some(Value::Object(function)) = read.get("function") else {
        let found = read.get("function").map_or("nothing".to_string(), kind);
        return Err(read.error("function", "an object", &found));
    };
    let function_path = format!("{path}.function");
    let mut function = function.clone();
    let read = Object::nested(BODY, &function_path, &function);
    if read.text("name")?.is_none() {
        return Err(read.error("name", "a string", "nothing"));
    }
    let arguments = match read.get("arguments") {
        None => Value::Object(Map::new()),
        Some(Value::String(text)) if text.is_empty() => Value::Object(Map::new()),
        // What is no JSON the model wrote so.
        Some(Value::String(text)) => {
            serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into())
        }
        Some(other) => other.clone(),
    };
    function.insert("arguments".to_string(), arguments);
    call.insert("function".to_string(), function.into());
    Ok(call.into())
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
                             "name": null, "weight": false, "parsed": {}});
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
                json!({"role": "assistant", "content": null, "refusal": "No."}),
                "`messages[0].refusal`",
            ),
            (
                json!({"role": "assistant", "function_call": {"name": "f"}}),
                "`messages[0].function_call`",
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
