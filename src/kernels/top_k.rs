//! The largest logits of each row, in order.

use wgpu::Features;

use super::chunk_max::N_CHUNKS;
use super::{kernel, params, read, read_write, words};
use crate::gpu::{Call, Cost, Kernel, Target, on_buffers};

params! {
    Params {
        n_vocab: u32,
        row_quads: u32,
        list: u32,
    }
}

pub static KERNEL: Kernel = kernel!(
    "common",
    "top_k",
    Params::FIELDS,
    Features::empty(),
    &[
        read("logits"),
        read("maxima"),
        read("draw_rules"),
        read("rows"),
        read_write("candidates"),
    ]
);

/// The most candidates of a row.
pub const MAX_CANDIDATES: usize = 256;

/// A workgroup for each row of logits. `buffers`: logits, maxima as [`chunk_max`](super::chunk_max)
/// left them, rules, rows, and candidates, u32 `[row][MAX_CANDIDATES][key, id]`.
pub fn call<'a>(target: &Target, params: Params, buffers: [&'a wgpu::Buffer; 5]) -> Call<'a> {
    let n_candidates = MAX_CANDIDATES as u32;
    Call {
        kernel: &KERNEL,
        constants: vec![("WORKGROUP_SIZE", target.workgroup_of(1024))],
        params: params.bytes(),
        resources: on_buffers(&buffers),
        x: 1,
        rows_per_group: 1,
        cost: Cost {
            read_per_row: words(N_CHUNKS + n_candidates),
            written_per_row: words(2 * n_candidates),
            ..Cost::default()
        },
    }
}
