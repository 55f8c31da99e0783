//! The header of a weights file, and the bytes of every tensor that it names.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ztt_wgpu::model::checkpoint::Checkpoint;

fuzz_target!(|bytes: &[u8]| {
    let Ok(checkpoint) = Checkpoint::in_memory("fuzzed", bytes.to_vec()) else {
        return;
    };
    for name in checkpoint.names() {
        let Some(shape) = checkpoint.shape(name) else {
            continue;
        };
        if let Ok(tensor) = checkpoint.tensor(name, shape) {
            let _ = (tensor.first_not_finite(), tensor.to_f32());
        }
    }
});
