//! What transformers 5 makes of a `tokenizer.json` by the name of its class.
//!
//! Most classes read the file as it is, or make of it what it says already. `LlamaTokenizer` of a
//! Llama takes vocabulary and merges alone and splits text in its own way, so that no blank is put
//! before a text that follows a special token, but where `legacy` is true. `GPT2Tokenizer` takes
//! `add_prefix_space` from `tokenizer_config.json`.

use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::model::Text;
use crate::model::json::{Object, parse_object};

/// The text of `tokenizer.json` as the model's class would have it; `None` where it is right as
/// it is.
///
/// # Errors
/// [`Error::File`](crate::Error::File) and [`Error::Field`](crate::Error::Field) where a file is
/// not what it should be.
pub fn adapted<'t>(
    tokenizer: &Text,
    find: &impl Fn(&str) -> Option<&'t Text>,
) -> Result<Option<String>> {
    let (Some(model), Some(config)) = (find("config.json"), find("tokenizer_config.json")) else {
        return Ok(None);
    };
    let model = parse_object(&model.file, &model.text)?;
    let fields = parse_object(&config.file, &config.text)?;
    let config = Object::new(&config.file, &fields);
    let named = |fields: &Map<String, Value>| {
        let name = fields.get("tokenizer_class")?.as_str()?;
        Some(name.strip_suffix("Fast").unwrap_or(name).to_string())
    };
    let class = named(&fields).or_else(|| named(&model));
    let is_byte_level = tokenizer.text.contains("\"ByteLevel\"");
    let model_type = model.get("model_type").and_then(Value::as_str);
    let change = match (model_type, class.as_deref()) {
        (Some("llama"), Some("LlamaTokenizer")) if !is_byte_level => as_llama,
        (Some("gpt2"), None | Some("GPT2Tokenizer")) if is_byte_level => as_gpt2,
        _ => return Ok(None),
    };
    // A file that is no JSON is refused where it is read.
    let Ok(mut fields) = parse_object(&tokenizer.file, &tokenizer.text) else {
        return Ok(None);
    };
    let is_bpe = fields.get("model").is_some_and(|m| m["type"] == "BPE");
    if !is_bpe || !change(&mut fields, &config)? {
        return Ok(None);
    }
    Ok(Some(Value::Object(fields).to_string()))
}

/// Whether there was something to change.
fn as_llama(fields: &mut Map<String, Value>, config: &Object) -> Result<bool> {
    let has_prefix = config.flag("add_prefix_space", true)?;
    let scheme = match (has_prefix, config.flag("legacy", false)?) {
        (false, _) => "never",
        (true, false) => "first",
        (true, true) => "always",
    };
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if has_prefix {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    fields.insert("normalizer".to_string(), Value::Null);
    let splitter = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme,
                          "split": false});
    fields.insert("pre_tokenizer".to_string(), splitter);
    let decoder = json!({"type": "Sequence", "decoders": decoders});
    fields.insert("decoder".to_string(), decoder);
    Ok(true)
}

fn as_gpt2(fields: &mut Map<String, Value>, config: &Object) -> Result<bool> {
    let has_prefix = config.flag("add_prefix_space", false)?;
    match fields.get_mut("pre_tokenizer") {
        Some(Value::Object(splitter)) if splitter.get("type") == Some(&json!("ByteLevel")) => {
            let before = splitter.insert("add_prefix_space".to_string(), has_prefix.into());
            Ok(before != Some(Value::Bool(has_prefix)))
        }
        _ => Ok(false),
    }
}
