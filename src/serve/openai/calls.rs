//! The calls of tools in a message.

use serde_json::{Map, Value, json};

use super::fields::without_nothing;
use super::message::object;
use super::parsing::BODY;
use crate::error::Result;
use crate::model::json::{Object, kind};

/// The calls of an answer, their arguments as the objects that templates take them for.
pub(super) fn read(message: &Object, path: &str) -> Result<Vec<Value>> {
    const FIELD: &str = "tool_calls";
    match (message.get(FIELD), message.get("function_call")) {
        (None, None) => Ok(Vec::new()),
        // The one call of an answer from before there were several.
        (None, Some(function)) => {
            let path = format!("{path}.function_call");
            let function = called(&path, object(&path, function)?)?;
            Ok(vec![json!({"type": "function", "function": function})])
        }
        (Some(_), Some(_)) => {
            let expected = format!("none beside `{FIELD}`");
            Err(message.error("function_call", &expected, "one"))
        }
        (Some(Value::Array(calls)), None) => {
            let calls = calls.iter().enumerate();
            calls
                .map(|(i, call)| tool_call(&format!("{path}.{FIELD}[{i}]"), call))
                .collect()
        }
        (Some(other), None) => Err(message.error(FIELD, "a list", &kind(other))),
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
    let function = called(&format!("{path}.function"), function)?;
    call.insert("function".to_string(), function.into());
    Ok(call.into())
}

/// The name of the called function, and its arguments, read from their JSON.
fn called(path: &str, function: &Map<String, Value>) -> Result<Map<String, Value>> {
    let mut function = function.clone();
    let read = Object::nested(BODY, path, &function);
    if read.text("name")?.is_none() {
        return Err(read.error("name", "a string", "nothing"));
    }
    let arguments = match read.get("arguments") {
        None => Value::Object(Map::new()),
        Some(Value::String(text)) if text.is_empty() => Value::Object(Map::new()),
        // Arguments that are no JSON are kept as the model wrote them.
        Some(Value::String(text)) => {
            serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into())
        }
        Some(other) => other.clone(),
    };
    function.insert("arguments".to_string(), arguments);
    Ok(function)
}
