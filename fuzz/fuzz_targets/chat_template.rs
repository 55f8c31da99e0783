//! A chat template, run on a conversation.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use ztt_wgpu::model::chat_template::ChatTemplate;

fuzz_target!(|source: &str| {
    let tokens = BTreeMap::from([("bos_token", "<s>".to_string())]);
    let Ok(template) = ChatTemplate::parse("template", source.to_string(), tokens) else {
        return;
    };
    let messages = [
        json!({"role": "system", "content": "Be short."}),
        json!({"role": "user", "content": "Hi\n"}),
    ];
    let _ = template.render(&messages, true);
});
