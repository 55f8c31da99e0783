//! The special tokens that templates know by their names.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::model::Text;
use crate::model::json::{Object, parse_object};

/// Tokens that every tokenizer may have, each as a string or an object with one.
const STANDARD: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

/// What a model adds, by names of its own.
const EXTRA: &str = "extra_special_tokens";

/// The special tokens of a `tokenizer_config.json` with these `fields`. As transformers has it,
/// `special_tokens_map.json` is read where there is no `added_tokens_decoder` among them, and
/// then wins.
pub fn special_tokens(
    file: &str,
    fields: &Map<String, Value>,
    special_tokens_map: Option<&Text>,
) -> Result<BTreeMap<String, String>> {
    let mut tokens = BTreeMap::new();
    add(&mut tokens, file, fields)?;
    if let Some(map) = special_tokens_map.filter(|_| !fields.contains_key("added_tokens_decoder")) {
        add(&mut tokens, &map.file, &parse_object(&map.file, &map.text)?)?;
    }
    Ok(tokens)
}

fn add(
    tokens: &mut BTreeMap<String, String>,
    file: &str,
    fields: &Map<String, Value>,
) -> Result<()> {
    let json = Object::new(file, fields);
    for (name, value) in fields {
        let token = match value {
            // Not every object is a token: only those with a content are.
            Value::Object(token) if STANDARD.contains(&name.as_str()) => token
                .get("content")
                .and_then(Value::as_str)
                .ok_or_else(|| missing(&json, name))?,
            Value::Null if STANDARD.contains(&name.as_str()) => {
                tokens.remove(name);
                continue;
            }
            _ if STANDARD.contains(&name.as_str()) => json.text(name)?.unwrap_or_default(),
            Value::String(token) if name.ends_with("_token") => token,
            _ => continue,
        };
        tokens.insert(name.clone(), token.to_string());
    }
    if let Some(Value::Object(extra)) = fields.get(EXTRA) {
        for (name, token) in extra {
            let text = token.as_str().or(token["content"].as_str());
            tokens.extend(text.map(|text| (name.clone(), text.to_string())));
        }
    }
    Ok(())
}

fn missing(json: &Object, name: &str) -> Error {
    json.error(
        name,
        "a string or an object with `content`",
        "an object without",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(config: Value, map: Value) -> BTreeMap<String, String> {
        let map = Text {
            name: "special_tokens_map.json",
            file: "special_tokens_map.json".to_string(),
            text: map.to_string(),
        };
        let fields = config.as_object().cloned().unwrap();
        special_tokens("tokenizer_config.json", &fields, Some(&map)).unwrap()
    }

    #[test]
    fn the_map_is_read_where_the_config_has_no_tokens_of_its_own() {
        let map = json!({"bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>",
                         "additional_special_tokens": ["<a>"]});
        let found = of(
            json!({"pad_token": "<pad>", "eos_token": "<e>"}),
            map.clone(),
        );
        let found: Vec<_> = found.iter().map(|(k, v)| [k.as_str(), v]).collect();
        assert_eq!(
            found,
            [
                ["bos_token", "<s>"],
                ["eos_token", "</s>"],
                ["pad_token", "<pad>"]
            ]
        );
        let found = of(json!({"added_tokens_decoder": {}, "eos_token": "<e>"}), map);
        let found: Vec<_> = found.iter().map(|(k, v)| [k.as_str(), v]).collect();
        assert_eq!(found, [["eos_token", "<e>"]]);
    }

    #[test]
    fn a_models_own_tokens_are_known() {
        let config = json!({"image_token": "<image>", "add_bos_token": true, "sep_token": null,
                            "extra_special_tokens": {"audio_token": "<audio>"}});
        let found = of(config, json!({}));
        let found: Vec<_> = found.iter().map(|(k, v)| [k.as_str(), v]).collect();
        assert_eq!(
            found,
            [["audio_token", "<audio>"], ["image_token", "<image>"]]
        );
    }
}
