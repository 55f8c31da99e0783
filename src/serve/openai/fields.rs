//! The fields of a request's body: all are either read, or ask for nothing, or are refused.

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::model::json::{Object, parse_object};

/// How errors name the body of a request.
pub const BODY: &str = "request";

/// OpenAI's fields that are not implemented, with the values (JSON) that ask for nothing. `null`
/// always does.
const NEUTRAL: [(&str, &[&str]); 25] = [
    ("audio", &[]),
    ("best_of", &["1"]),
    ("echo", &["false"]),
    ("frequency_penalty", &["0", "0.0"]),
    ("function_call", &["\"none\"", "\"auto\""]),
    ("functions", &["[]"]),
    ("logit_bias", &["{}"]),
    ("metadata", &["{}"]),
    ("modalities", &["[\"text\"]"]),
    ("moderation", &[]),
    ("parallel_tool_calls", &["true", "false"]),
    ("prediction", &[]),
    ("presence_penalty", &["0", "0.0"]),
    ("prompt_cache_key", &[]),
    ("prompt_cache_retention", &[]),
    ("reasoning_effort", &[]),
    ("response_format", &["{\"type\":\"text\"}"]),
    ("safety_identifier", &[]),
    ("service_tier", &["\"auto\"", "\"default\""]),
    ("store", &["false"]),
    ("suffix", &["\"\""]),
    ("tool_choice", &["\"none\"", "\"auto\""]),
    ("tools", &["[]"]),
    ("verbosity", &[]),
    ("web_search_options", &[]),
];

/// Parses a body, which must be one JSON object.
pub fn parse(body: &[u8]) -> Result<Map<String, Value>> {
    match std::str::from_utf8(body) {
        Ok(text) => parse_object(BODY, text),
        Err(e) => Err(Error::File {
            file: BODY.to_string(),
            expected: "UTF-8".to_string(),
            found: e.to_string(),
        }),
    }
}

/// Refuses every field that is not in `read` and asks for something.
pub fn check_names(fields: &Map<String, Value>, read: &[&[&str]]) -> Result<()> {
    let is_read = |name: &str| read.iter().any(|names| names.contains(&name));
    for (name, value) in fields.iter().filter(|(name, _)| !is_read(name)) {
        let refuse = |expected: String, found: &str| {
            let object = Object::new(BODY, fields);
            Err(object.error(name, &expected, found))
        };
        let Some((_, neutral)) = NEUTRAL.iter().find(|(known, _)| known == name) else {
            return refuse("a field that this route has".to_string(), "another");
        };
        let asks_for_nothing = |text: &&str| {
            let neutral: Option<Value> = serde_json::from_str(text).ok();
            neutral.as_ref() == Some(value)
        };
        if !value.is_null() && !neutral.iter().any(asks_for_nothing) {
            let neutral = neutral.iter().map(|text| format!(" or `{text}`"));
            let expected = format!("none{}", neutral.collect::<String>());
            return refuse(expected, "one, which is not implemented");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str) -> Result<(), String> {
        let fields = parse(body.as_bytes()).map_err(|e| e.to_string())?;
        check_names(&fields, &[&["seed"], &["n"]]).map_err(|e| e.to_string())
    }

    #[test]
    fn only_what_asks_for_nothing_is_taken() {
        let neutral = r#"{"seed": 1, "n": 2, "tools": null, "frequency_penalty": 0.0,
                          "response_format": {"type": "text"}, "logit_bias": {}}"#;
        assert_eq!(check(neutral), Ok(()));
        for (body, words) in [
            (r#"{"sed": 1}"#, ["`sed`", "a field that this route has"]),
            (r#"{"sed": null}"#, ["`sed`", "a field that this route has"]),
            (
                r#"{"presence_penalty": 0.5}"#,
                ["`presence_penalty`", "not implemented"],
            ),
            (r#"{"tools": [{}]}"#, ["`tools`", "none or `[]`"]),
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
