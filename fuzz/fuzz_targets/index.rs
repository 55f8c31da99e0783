//! `model.safetensors.index.json`: the names of the files that it asks for.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ztt_wgpu::model::index::shards_of;

fuzz_target!(|text: &str| {
    let _ = shards_of("model.safetensors.index.json", text);
});
