//! Listed rows, one after the other.

use wgpu::Features;

use super::{WORKGROUP_SIZE, kernel, params, read, read_write, words};
use crate::gpu::{Call, Cost, Kernel, on_buffers};

params! {
    Params {
        n_quads: u32,
        list: u32,
    }
}

pub static KERNEL: Kernel = kernel!(
    "common",
    "gather_rows",
    Params::FIELDS,
    Features::empty(),
    &[read("x"), read("rows"), read_write("y")]
);

/// `buffers`: x, rows, y.
pub fn call(params: Params, buffers: [&wgpu::Buffer; 3]) -> Call<'_> {
    Call {
        kernel: &KERNEL,
        constants: Vec::new(),
        params: params.bytes(),
        resources: on_buffers(&buffers),
        x: params.n_quads.div_ceil(WORKGROUP_SIZE),
        rows_per_group: 1,
        cost: Cost {
            read_per_row: words(4 * params.n_quads),
            written_per_row: words(4 * params.n_quads),
            ..Cost::default()
        },
    }
}
