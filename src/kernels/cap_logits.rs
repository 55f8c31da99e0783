//! Logits times a number, with a soft cap or without.

use wgpu::Features;

use super::{WORKGROUP_SIZE, kernel, params, read_write, words};
use crate::gpu::{Call, Cost, Kernel, on_buffers};

params! {
    Params {
        n_vocab: u32,
        stride: u32,
        multiplier: f32,
        soft_cap: f32,
    }
}

pub static KERNEL: Kernel = kernel!(
    "common",
    "cap_logits",
    Params::FIELDS,
    Features::empty(),
    &[read_write("logits")]
);

/// Logits of an invocation.
const LOGITS: u32 = 4;

/// `logits`: f32 `[row][stride]`, one row for each that the call is dispatched over.
pub fn call(params: Params, logits: &wgpu::Buffer) -> Call<'_> {
    Call {
        kernel: &KERNEL,
        constants: Vec::new(),
        params: params.bytes(),
        resources: on_buffers(&[logits]),
        x: params.n_vocab.div_ceil(LOGITS * WORKGROUP_SIZE),
        rows_per_group: 1,
        cost: Cost {
            read_per_row: words(params.n_vocab),
            written_per_row: words(params.n_vocab),
            flops_per_row: u64::from(4 * params.n_vocab),
            ..Cost::default()
        },
    }
}
