//! The largest logits, in order.

use wgpu::Features;

use super::chunk_max::N_CHUNKS;
use super::{kernel, params, read, read_write, words};
use crate::gpu::{Call, Cost, Kernel, Target, on_buffers};

params! {
    Params {
        n_vocab: u32,
        k: u32,
    }
}

pub static KERNEL: Kernel = kernel!(
    "common",
    "top_k",
    Params::FIELDS,
    Features::empty(),
    &[read("logits"), read("maxima"), read_write("candidates")]
);

/// The largest `k`.
pub const MAX_CANDIDATES: usize = 256;

/// One workgroup. `buffers`: logits, maxima as [`chunk_max`](super::chunk_max) left them, and
/// candidates, u32 `[k][key, id]`.
pub fn call<'a>(target: &Target, params: Params, buffers: [&'a wgpu::Buffer; 3]) -> Call<'a> {
    Call {
        kernel: &KERNEL,
        constants: vec![("WORKGROUP_SIZE", target.workgroup_of(1024))],
        params: params.bytes(),
        resources: on_buffers(&buffers),
        x: 1,
        rows_per_group: 1,
        cost: Cost {
            read_per_row: words(N_CHUNKS + params.k),
            written_per_row: words(2 * params.k),
            ..Cost::default()
        },
    }
}
