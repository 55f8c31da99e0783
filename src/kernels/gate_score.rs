//! The score of a cycle from a learned gate on the residual stream.

use wgpu::Features;

use super::{kernel, params, read, read_write, words};
use crate::gpu::{Call, Cost, Kernel, Target, on_buffers};

params! {
    Params {
        n_cols: u32,
        stride: u32,
        cycle: u32,
        n_cycles: u32,
        list: u32,
    }
}

pub static KERNEL: Kernel = kernel!(
    "common",
    "gate_score",
    Params::FIELDS,
    Features::empty(),
    &[
        read("x"),
        read("exit_gate"),
        read("rows"),
        read_write("progress"),
    ]
);

/// One workgroup a row. `buffers`: x, the gate, rows, progress, which has the scores of the cycles
/// before.
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
            written_per_row: words(1),
            flops_per_row: u64::from(2 * params.n_cols),
            ..Cost::default()
        },
    }
}
