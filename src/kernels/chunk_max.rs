//! The largest logit of each chunk of the vocabulary.

use wgpu::Features;

use super::{WORKGROUP_SIZE, kernel, params, read, read_write, words};
use crate::gpu::{Call, Cost, Kernel, on_buffers};

params! {
    Params {
        n_vocab: u32,
    }
}

pub static KERNEL: Kernel = kernel!(
    "common",
    "chunk_max",
    Params::FIELDS,
    Features::empty(),
    &[read("logits"), read_write("maxima")]
);

/// Chunks of a vocabulary, empty ones included.
pub const N_CHUNKS: u32 = 1024;

/// One invocation a chunk. `buffers`: logits, padded to whole quads, and maxima, u32 `[chunk]`.
pub fn call(params: Params, buffers: [&wgpu::Buffer; 2]) -> Call<'_> {
    Call {
        kernel: &KERNEL,
        constants: Vec::new(),
        params: params.bytes(),
        resources: on_buffers(&buffers),
        x: N_CHUNKS / WORKGROUP_SIZE,
        rows_per_group: 1,
        cost: Cost {
            read_per_row: words(params.n_vocab),
            written_per_row: words(N_CHUNKS),
            ..Cost::default()
        },
    }
}
