//! The body of a request to the server.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ztt_wgpu::serve::openai::{ChatRequest, CompletionRequest};

fuzz_target!(|body: &[u8]| {
    let _ = (ChatRequest::parse(body), CompletionRequest::parse(body));
});
