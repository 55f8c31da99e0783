//! Biases of logits, and masks of the tokens that are allowed.

use wgpu::Features;

use super::{WORKGROUP_SIZE, kernel, params, read, read_write, words};
use crate::gpu::{Call, Cost, Kernel, on_buffers};

params! {
    Params {
        n_vocab: u32,
        stride: u32,
        list: u32,
    }
}

pub static KERNEL: Kernel = kernel!(
    "common",
    "adjust_logits",
    Params::FIELDS,
    Features::empty(),
    &[
        read("draw_rules"),
        read("biases"),
        read("masks"),
        read("rows"),
        read_write("logits"),
    ]
);

/// Tokens of a word of a mask.
pub const MASK_TOKENS: u32 = 32;

/// `buffers`: rules, biases, masks, rows, logits.
pub fn call(params: Params, buffers: [&wgpu::Buffer; 5]) -> Call<'_> {
    let n_words = params.n_vocab.div_ceil(MASK_TOKENS);
    Call {
        kernel: &KERNEL,
        constants: Vec::new(),
        params: params.bytes(),
        resources: on_buffers(&buffers),
        x: n_words.div_ceil(WORKGROUP_SIZE),
        rows_per_group: 1,
        cost: Cost {
            read_per_row: words(n_words + params.n_vocab),
            written_per_row: words(params.n_vocab),
            ..Cost::default()
        },
    }
}
