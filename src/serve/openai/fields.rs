//! The fields of a request's body: all are either read, or ask for nothing, or are refused.

use serde_json::{Map, Value};

use super::neutral::{CHANGE_NOTHING, NEUTRAL, NEVER_NOTHING};
use super::parsing::{self, BODY};
use super::prompts::Found;
use crate::error::Result;
use crate::model::json::Object;

/// Parses a body, which must be one JSON object, and leaves out all fields that ask for nothing,
/// known or not; those called `kept` stay.
pub fn parse(body: &[u8], kept: &[&str]) -> Result<Map<String, Value>> {
    let mut fields = parsing::parse(body, false)?.fields;
    fields.retain(|name, value| kept.contains(&name.as_str()) || says(name, value));
    Ok(fields)
}

/// Parses a body whose `prompt` is read on its own, and leaves out the fields that ask for nothing.
pub fn parse_with_prompt(body: &[u8]) -> Result<(Map<String, Value>, Option<Found>)> {
    let mut parsed = parsing::parse(body, true)?;
    parsed.fields.retain(|name, value| says(name, value));
    Ok((parsed.fields, parsed.prompt))
}

/// The fields that say something, and those called `kept`: `null`, `false` and empty values ask for
/// nothing, and so does an object in which all fields do. Clients send them for settings that they
/// leave open.
pub fn without_nothing(fields: &Map<String, Value>, kept: &[&str]) -> Map<String, Value> {
    let fields = fields.iter();
    let fields = fields.filter(|(name, value)| kept.contains(&name.as_str()) || says(name, value));
    fields.map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn says(name: &str, value: &Value) -> bool {
    match value {
        Value::Null => false,
        _ if NEVER_NOTHING.contains(&name) => true,
        Value::Bool(value) => *value,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(fields) => fields.iter().any(|(name, value)| says(name, value)),
        Value::Number(_) => true,
    }
}

/// Refuses every field that is not in `read` and asks for something.
pub fn check_names(fields: &Map<String, Value>, read: &[&[&str]]) -> Result<()> {
    let is_taken = |name: &str| {
        CHANGE_NOTHING.contains(&name) || read.iter().any(|names| names.contains(&name))
    };
    for (name, value) in fields.iter().filter(|(name, _)| !is_taken(name)) {
        let refuse = |expected: String, found: &str| {
            let object = Object::new(BODY, fields);
            Err(object.error(name, &expected, found))
        };
        let Some((_, neutral)) = NEUTRAL.iter().find(|(known, _)| known == name) else {
            return refuse("a field that this route has".to_string(), "another");
        };
        if !asks_for_nothing(fields, name, value, neutral) {
            let neutral = neutral.iter().map(|text| format!(" or `{text}`"));
            let expected = format!("none{}", neutral.collect::<String>());
            return refuse(expected, "one, which is not implemented");
        }
    }
    Ok(())
}

/// Whether `value` is one of the `neutral` ones, or has no effect beside the other fields.
fn asks_for_nothing(
    fields: &Map<String, Value>,
    name: &str,
    value: &Value,
    neutral: &[&str],
) -> bool {
    let is = |text: &&str| {
        let neutral: Option<Value> = serde_json::from_str(text).ok();
        match (value, &neutral) {
            (Value::Object(fields), _) => neutral == Some(without_nothing(fields, &[]).into()),
            (Value::Number(value), Some(Value::Number(neutral))) => {
                value.as_f64() == neutral.as_f64()
            }
            _ => neutral.as_ref() == Some(value),
        }
    };
    let is_none = |choice: &str| fields.get(choice).is_some_and(|choice| choice == "none");
    let comes_to_it = match (name, value) {
        // All texts are asked for, so there is no choice between them.
        ("best_of", n) => fields.get("n") == Some(n),
        // None is to be called.
        ("functions", _) => is_none("function_call"),
        ("logit_bias", Value::Object(biases)) => biases.values().all(|b| b.as_f64() == Some(0.0)),
        ("tools", _) => is_none("tool_choice"),
        _ => false,
    };
    comes_to_it || neutral.iter().any(is)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str) -> Result<(), String> {
        let fields = parse(body.as_bytes(), &[]).map_err(|e| e.to_string())?;
        check_names(&fields, &[&["seed"], &["n"]]).map_err(|e| e.to_string())
    }

    #[test]
    fn what_asks_for_nothing_is_taken() {
        for body in [
            r#"{"seed": 1, "n": 2, "tools": null, "frequency_penalty": 0.0, "logit_bias": {},
                "response_format": {"type": "text", "json_schema": null}, "best_of": 2}"#,
            r#"{"tools": [], "functions": [], "tool_choice": "none", "function_call": "auto",
                "parallel_tool_calls": true, "store": false, "echo": false, "suffix": "",
                "modalities": ["text"], "logit_bias": {"50256": 0}, "verbosity": "medium"}"#,
            r#"{"metadata": {"a": "b"}, "user": "me", "prompt_cache_key": "k",
                "safety_identifier": "s", "service_tier": "default", "reasoning_effort": "none",
                "prediction": {"type": "content", "content": "a"}}"#,
            r#"{"tools": [{}], "tool_choice": "none", "functions": [{}], "function_call": "none"}"#,
            r#"{"repetition_penalty": 1, "length_penalty": 1.0, "typical_p": 1.0, "tfs_z": 1,
                "min_tokens": 0, "mirostat": 0, "mirostat_tau": 5.0, "dry_multiplier": 0.0,
                "dry_base": 1.75, "prompt_logprobs": 0, "frequency_penalty": -0.0,
                "skip_special_tokens": true, "spaces_between_special_tokens": true,
                "add_generation_prompt": true, "num_beams": 1, "no_repeat_ngram_size": 0}"#,
            r#"{"cache_prompt": false, "id_slot": -1, "keep_alive": "5m", "chat_id": "a",
                "session_id": "b", "id": "c", "store": true}"#,
            r#"{"unknown": {"a": null, "b": {"c": []}}, "reasoning": {"effort": null},
                "provider": {"order": []}, "thinking": {"type": "disabled"},
                "chat_template_kwargs": {"a": null}, "response_format": {"type": "text", "b": {}}}"#,
            r#"{"reasoning": {"exclude": false}}"#,
            r#"{"ztt": {"cycles": null}}"#,
            r#"{"sed": null, "chat_template_kwargs": {}, "guided_choice": [], "echo_": false}"#,
        ] {
            assert_eq!(check(body), Ok(()), "{body}");
        }
        // Every field that OpenAI knows, left open.
        let names = NEUTRAL.iter().map(|(name, _)| *name);
        for name in names.chain(CHANGE_NOTHING.iter().copied()) {
            assert_eq!(check(&format!(r#"{{"{name}": null}}"#)), Ok(()));
        }
    }

    #[test]
    fn what_asks_for_something_is_named() {
        for (body, words) in [
            (r#"{"sed": 1}"#, ["`sed`", "a field that this route has"]),
            (
                r#"{"presence_penalty": 0.5}"#,
                ["`presence_penalty`", "not implemented"],
            ),
            (r#"{"tools": [{}]}"#, ["`tools`", "none or `[]`"]),
            (r#"{"tool_choice": "required"}"#, ["`tool_choice`", "none"]),
            (r#"{"best_of": 2}"#, ["`best_of`", "none or `1`"]),
            (r#"{"logit_bias": {"1": -100}}"#, ["`logit_bias`", "none"]),
            (
                r#"{"response_format": {"type": "json_object"}}"#,
                ["`response_format`", "none"],
            ),
            (
                r#"{"tools": [{}], "tool_choice": "auto"}"#,
                ["`tools`", "none or `[]`"],
            ),
            (
                r#"{"tools": [{}], "function_call": "none"}"#,
                ["`tools`", "none or `[]`"],
            ),
            (
                r#"{"repetition_penalty": 1.1}"#,
                ["`repetition_penalty`", "none or `1`"],
            ),
            (r#"{"mirostat": 2}"#, ["`mirostat`", "none or `0`"]),
            (
                r#"{"reasoning": {"effort": "high"}}"#,
                ["`reasoning`", "none"],
            ),
            (
                r#"{"thinking": {"type": "enabled"}}"#,
                ["`thinking`", "none"],
            ),
            (
                r#"{"skip_special_tokens": false}"#,
                ["`skip_special_tokens`", "none or `true`"],
            ),
            (
                r#"{"chat_template_kwargs": {"enable_thinking": false}}"#,
                ["`chat_template_kwargs`", "none"],
            ),
            (
                r#"{"extra": {"a": {"b": 1}}}"#,
                ["`extra`", "this route has"],
            ),
            // Defaults that are neither empty nor false.
            (
                r#"{"web_search_options": {}}"#,
                ["`web_search_options`", "none"],
            ),
            (r#"{"do_sample": false}"#, ["`do_sample`", "this route has"]),
            ("[1]", ["JSON object", "array"]),
            ("{", ["valid JSON", "EOF"]),
        ] {
            let error = check(body).unwrap_err();
            assert!(
                words.iter().all(|word| error.contains(word)),
                "{body}: {error}"
            );
        }
    }

    #[test]
    fn neutral_values_are_json() {
        let values = NEUTRAL.iter().flat_map(|(_, values)| values.iter());
        for text in values {
            assert!(serde_json::from_str::<Value>(text).is_ok(), "{text}");
        }
    }
}
