//! The repeat penalty on the logits of the tokens seen last.

use wgpu::Features;

use super::{kernel, params, read, read_write, row_call, words};
use crate::gpu::{Call, Cost, Kernel};

params! {
    Params {
        n_vocab: u32,
        stride: u32,
        list: u32,
    }
}

pub static KERNEL: Kernel = kernel!(
    "common",
    "repeat_penalty",
    Params::FIELDS,
    Features::empty(),
    &[
        read("draw_rules"),
        read("history"),
        read("rows"),
        read_write("logits"),
    ]
);

/// The number of latest tokens that are penalised, as in llama.cpp.
pub const WINDOW: usize = 64;

/// Places of the ring of latest tokens: see `shaders/shared/history.wgsl`.
pub const RING_PLACES: usize = 128;

/// Where the ring begins in the history of a sequence.
pub const RING: usize = 2;

/// Words of the history of a sequence.
pub const HISTORY_WORDS: usize = RING + RING_PLACES;

/// A workgroup for each row of logits. `buffers`: rules, history, rows, logits.
pub fn call(params: Params, buffers: [&wgpu::Buffer; 4]) -> Call<'_> {
    let window = WINDOW as u32;
    let cost = Cost {
        read_per_row: words(2 * window),
        written_per_row: words(window),
        flops_per_row: u64::from(window),
        ..Cost::default()
    };
    row_call(&KERNEL, params.bytes(), &buffers, cost)
}
