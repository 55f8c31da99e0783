//! The special tokens that templates know by their names.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::model::Text;
use crate::model::tokenizer::naming::{Files, Names};

/// The special tokens that the files of a checkpoint name, by their roles.
pub fn special_tokens(texts: &[Text]) -> Result<BTreeMap<String, String>> {
    let files = Files::read(&|name: &str| texts.iter().find(|t| t.name == name))?;
    let roles = Names::read(&files)?.roles.into_iter();
    Ok(roles.map(|(role, token)| (role, token.content)).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(config: Value, map: Value) -> BTreeMap<String, String> {
        of_files(&[
            ("tokenizer_config.json", config),
            ("special_tokens_map.json", map),
        ])
    }

    fn of_files(files: &[(&'static str, Value)]) -> BTreeMap<String, String> {
        let text = |(name, value): &(&'static str, Value)| Text {
            name,
            file: name.to_string(),
            text: value.to_string(),
        };
        let texts: Vec<Text> = files.iter().map(text).collect();
        special_tokens(&texts).unwrap()
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

    #[test]
    fn roles_that_transformers_saves_are_known() {
        let saved = json!({"image_token": "<I>", "tool_token": "<T>"});
        let found = of(json!({"model_specific_special_tokens": saved}), json!({}));
        assert_eq!(found["image_token"], "<I>");
        assert_eq!(found["tool_token"], "<T>");
    }

    #[test]
    fn what_nothing_names_the_class_and_saved_padding_name() {
        let model = |model_type: &str| ("config.json", json!({"model_type": model_type}));
        let found = of_files(&[model("gpt2")]);
        assert_eq!(found["bos_token"], "<|endoftext|>");
        assert!(!found.contains_key("pad_token"));
        let found = of_files(&[
            model("qwen3"),
            ("tokenizer_config.json", json!({"eos_token": null})),
        ]);
        assert_eq!(found["pad_token"], "<|endoftext|>");
        assert!(!found.contains_key("eos_token") && !found.contains_key("bos_token"));
        let converted = json!({"model_type": "ztt", "base_model_type": "qwen2"});
        let found = of_files(&[("config.json", converted)]);
        assert_eq!(found["unk_token"], "<|endoftext|>");
        let looped = json!({"model_type": "ztt", "base_model_type": "qwen2",
                            "tokenizer_model_type": "nanbeige"});
        assert!(of_files(&[("config.json", looped)]).is_empty());
        let padding = json!({"padding": {"pad_token": "<pad>", "pad_id": 5}});
        let found = of_files(&[model("llama"), ("tokenizer.json", padding)]);
        assert_eq!(found["pad_token"], "<pad>");
    }
}
