//! The score of a cycle from the zero attention of its layers.

use wgpu::Features;

use super::{kernel, params, read, read_write, row_call, words};
use crate::gpu::{Call, Cost, Kernel};
use crate::model::config::Reduce;

params! {
    Params {
        n_middle_layers: u32,
        n_heads: u32,
        reduce: u32,
        cycle: u32,
        n_cycles: u32,
        list: u32,
    }
}

pub static KERNEL: Kernel = kernel!(
    "common",
    "zero_score",
    Params::FIELDS,
    Features::empty(),
    &[read_write("zeros"), read("rows"), read_write("progress")]
);

/// The shader's number of a reduction.
pub fn reduce_constant(reduce: Reduce) -> u32 {
    match reduce {
        Reduce::Mean => 0,
        Reduce::Max => 1,
        Reduce::Min => 2,
        Reduce::First => 3,
        Reduce::Last => 4,
    }
}

/// A workgroup for each row. `buffers`: zeros, which it leaves averaged, rows, progress.
pub fn call(params: Params, buffers: [&wgpu::Buffer; 3]) -> Call<'_> {
    let cost = Cost {
        read_per_row: words(params.n_middle_layers * params.n_heads),
        written_per_row: words(1),
        flops_per_row: u64::from(params.n_middle_layers * params.n_heads),
        ..Cost::default()
    };
    row_call(&KERNEL, params.bytes(), &buffers, cost)
}
