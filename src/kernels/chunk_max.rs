//! The largest logit of each chunk of the vocabulary, row by row.

use wgpu::Features;

use super::{WORKGROUP_SIZE, kernel, params, read, read_write, words};
use crate::gpu::{Call, Cost, Kernel, KernelClass, Target, on_buffers};

params! {
    Params {
        n_vocab: u32,
        row_quads: u32,
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

/// `buffers`: logits, rows padded to whole quads, and maxima, u32 `[row][chunk]`.
pub fn call<'a>(target: &Target, params: Params, buffers: [&'a wgpu::Buffer; 2]) -> Call<'a> {
    // Of 128,256 tokens a chunk has 32 quads: a GPU wants more lanes than chunks.
    let parts = match target.class {
        KernelClass::Software => 1,
        KernelClass::Subgroup | KernelClass::Workgroup => 8,
    };
    Call {
        kernel: &KERNEL,
        constants: vec![("PARTS", parts)],
        params: params.bytes(),
        resources: on_buffers(&buffers),
        x: parts * N_CHUNKS / WORKGROUP_SIZE,
        rows_per_group: 1,
        cost: Cost {
            read_per_row: words(params.n_vocab),
            written_per_row: words(N_CHUNKS),
            ..Cost::default()
        },
    }
}
