//! Fills a matrix with random weights, for measuring.

use wgpu::Features;

use super::{WORKGROUP_SIZE, kernel, params, read_write};
use crate::gpu::{Call, Cost, Kernel, on_buffers};

params! {
    Params {
        n_words: u32,
        n_invocations: u32,
        row_words: u32,
        number_words: u32,
        scale_words: u32,
        random_bits: u32,
        set_bits: u32,
        scales: u32,
        seed: u32,
    }
}

pub static KERNEL: Kernel = kernel!(
    "common",
    "random_weights",
    Params::FIELDS,
    Features::empty(),
    &[read_write("matrix")]
);

/// Workgroups of a dispatch: more than any GPU runs at a time.
const N_GROUPS: u32 = 4096;

/// `params.n_invocations` is set here; `matrix` has `params.n_words` words.
pub fn call(params: Params, matrix: &wgpu::Buffer) -> Call<'_> {
    let params = Params {
        n_invocations: N_GROUPS * WORKGROUP_SIZE,
        ..params
    };
    Call {
        kernel: &KERNEL,
        constants: Vec::new(),
        params: params.bytes(),
        resources: on_buffers(&[matrix]),
        x: N_GROUPS,
        rows_per_group: 1,
        cost: Cost::default(),
    }
}
