//! `config.json`, and the walk through the layers that it asks for.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ztt_wgpu::model::config::Config;
use ztt_wgpu::schedule::Walk;

fuzz_target!(|text: &str| {
    let Ok(config) = Config::parse("config.json", text) else {
        return;
    };
    // Layers are limited by the tensors of a checkpoint, which is missing here.
    if config.n_layers <= 1000 && config.cycles() <= 100 {
        let _ = Walk::new(&config, None, &config.exit());
    }
});
