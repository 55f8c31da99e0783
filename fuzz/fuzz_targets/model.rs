//! A single-file model: all checks that opening makes, every weight, and a token through the
//! reference.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ztt_wgpu::engine::{Engine, Logits, Options};
use ztt_wgpu::model::Model;

fuzz_target!(|bytes: &[u8]| {
    let Ok(model) = Model::from_bytes("fuzzed", bytes.to_vec()) else {
        return;
    };
    let _ = (model.tokenizer(), model.chat_template());
    let options = Options {
        n_ctx: model.config.max_positions.min(4),
        ..Options::of(&model)
    };
    if let Ok(mut engine) = Engine::on_host(&model, &options) {
        let _ = pollster::block_on(engine.forward(&[0], Logits::Last));
    }
});
