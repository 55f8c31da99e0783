//! `tokenizer.json` and the files beside it: a text to ids and back.
//!
//! An input is `tokenizer.json`, or an object of files by their names. Besides changes of bytes,
//! values of the JSON are put in the places of others.

#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use serde_json::{Value, json};
use ztt_wgpu::model::Text;
use ztt_wgpu::model::tokenizer::{TextStream, Tokenizer};

const NAMES: [&str; 5] = [
    "tokenizer.json",
    "config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
];

fuzz_target!(|text: &str| {
    let Some(tokenizer) = read(text) else {
        return;
    };
    let Ok(ids) = tokenizer.encode("ab ba\n é 語 <s> aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa") else {
        return;
    };
    let ids = ids.into_iter().take(64);
    let mut stream = TextStream::new(&tokenizer);
    for id in ids.clone().chain(0..20) {
        let _ = stream.push(id);
    }
    let _ = stream.finish();
    let _ = tokenizer.decode(&ids.collect::<Vec<_>>(), true);
});

fn read(text: &str) -> Option<Tokenizer> {
    let files = serde_json::from_str(text).unwrap_or(Value::Null);
    if files.get(NAMES[0]).is_none() {
        return Tokenizer::parse("fuzzed", NAMES[0], text).ok();
    }
    let texts = NAMES.iter().filter_map(|&name| {
        Some(Text {
            name,
            file: name.to_string(),
            text: files.get(name)?.to_string(),
        })
    });
    let texts: Vec<Text> = texts.collect();
    Tokenizer::of_checkpoint("fuzzed", &texts).ok()?
}

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let parsed = serde_json::from_slice::<Value>(&data[..size]).ok();
    let Some(mut value) = parsed.filter(|_| seed % 4 != 0) else {
        return fuzzer_mutate(data, size, max_size);
    };
    let seed = (seed / 4) as usize;
    let n_places = count(&value);
    let taken = nth(&mut value, &mut (seed / 7 % n_places)).cloned();
    let new = match seed % 3 {
        0 => taken.unwrap_or(Value::Null),
        _ => word(seed / 3),
    };
    if let Some(place) = nth(&mut value, &mut (seed / 11 % n_places)) {
        match (seed % 5, place) {
            (0, Value::Array(all)) => all.push(new),
            (1, Value::Array(all)) => *all = [all.as_slice(), all.as_slice()].concat(),
            (2, place) => {
                *place = json!({"type": "Sequence", "normalizers": [place], "decoders": [place],
                                          "pretokenizers": [place], "processors": [place]})
            }
            (_, place) => *place = new,
        }
    }
    let text = value.to_string();
    if text.len() > max_size {
        return fuzzer_mutate(data, size, max_size);
    }
    data[..text.len()].copy_from_slice(text.as_bytes());
    text.len()
});

/// Values that are odd in many places.
fn word(n: usize) -> Value {
    let words = [
        json!(null),
        json!(0),
        json!(-1),
        json!(4_294_967_295_u64),
        json!(u64::MAX),
        json!(1e308),
        json!(true),
        json!(""),
        json!("a"),
        json!("(a|aa)+(?!b)c"),
        json!([]),
        json!({}),
        json!({"type": "Replace", "pattern": {"Regex": "."}, "content": "aa"}),
        json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}),
        json!({"type": "Metaspace", "replacement": "b", "prepend_scheme": "always", "split": true}),
        json!({"type": "Split", "pattern": {"String": "a"}, "behavior": "MergedWithNext", "invert": true}),
        json!({"type": "Strip", "content": "a", "start": 1, "stop": 1}),
        json!({"type": "CTC", "pad_token": "", "word_delimiter_token": "", "cleanup": true}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
        json!({"type": "NFKD"}),
    ];
    words[n % words.len()].clone()
}

/// How many values there are in `value`, itself among them.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(all) => all.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// The `n`-th of them.
fn nth<'v>(value: &'v mut Value, n: &mut usize) -> Option<&'v mut Value> {
    if *n == 0 {
        return Some(value);
    }
    *n -= 1;
    match value {
        Value::Array(all) => all.iter_mut().find_map(|value| nth(value, n)),
        Value::Object(fields) => fields.values_mut().find_map(|value| nth(value, n)),
        _ => None,
    }
}
