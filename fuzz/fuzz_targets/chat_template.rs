//! A chat template, run on a conversation. What comes before a NUL is the template, what comes
//! after it the messages, as JSON; without one, the messages are two of every day.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use ztt_wgpu::model::chat_template::ChatTemplate;

fuzz_target!(|text: &str| {
    let (source, messages) = text.split_once('\0').unwrap_or((text, ""));
    let tokens = BTreeMap::from([("bos_token".to_string(), "<s>".to_string())]);
    let Ok(template) = ChatTemplate::parse("template", source.to_string(), tokens) else {
        return;
    };
    let messages: Vec<Value> = serde_json::from_str(messages).unwrap_or_else(|_| {
        vec![
            json!({"role": "system", "content": "Be short."}),
            json!({"role": "user", "content": "Hi\n"}),
        ]
    });
    let _ = template.render(&messages, true);
});
