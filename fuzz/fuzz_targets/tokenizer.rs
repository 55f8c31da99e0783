//! `tokenizer.json`: a text to ids and back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ztt_wgpu::model::tokenizer::{TextStream, Tokenizer};

fuzz_target!(|text: &str| {
    let Ok(tokenizer) = Tokenizer::parse("fuzzed", "tokenizer.json", text) else {
        return;
    };
    let Ok(ids) = tokenizer.encode("ab ba\n é 語 <s>") else {
        return;
    };
    let _ = tokenizer.decode(&ids, true);
    let mut stream = TextStream::new(&tokenizer);
    for id in ids.into_iter().chain(0..20) {
        let _ = stream.push(id);
    }
    let _ = stream.finish();
});
