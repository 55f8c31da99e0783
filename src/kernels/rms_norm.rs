//! Root-mean-square normalisation of listed rows.

use wgpu::Features;

use super::{kernel, params, read, read_write, words};
use crate::gpu::{Call, Cost, Kernel, Target, on_buffers};

params! {
    Params {
        n_cols: u32,
        stride: u32,
        list: u32,
        dense: u32,
        eps: f32,
    }
}

pub static KERNEL: Kernel = kernel!(
    "common",
    "rms_norm",
    Params::FIELDS,
    Features::empty(),
    &[read("x"), read("norm"), read("rows"), read_write("y")]
);

/// One workgroup a row. `buffers`: x, norm, rows, y.
pub fn call<'a>(target: &Target, params: Params, buffers: [&'a wgpu::Buffer; 4]) -> Call<'a> {
    Call {
        kernel: &KERNEL,
        constants: vec![("WORKGROUP_SIZE", target.workgroup_of(256))],
        params: params.bytes(),
        resources: on_buffers(&buffers),
        x: 1,
        rows_per_group: 1,
        cost: Cost {
            read: words(params.n_cols),
            read_per_row: words(params.n_cols),
            written_per_row: words(params.n_cols),
            flops_per_row: u64::from(4 * params.n_cols),
            ..Cost::default()
        },
    }
}
