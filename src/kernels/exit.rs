//! Scores of a cycle, the rows that exit after it, and the sizes of the dispatches that follow.

use wgpu::Features;

use super::{kernel, params, read, read_write, words};
use crate::gpu::{Call, Cost, Kernel, on_buffers};
use crate::model::config::Reduce;

params! {
    Params {
        n_middle_layers: u32,
        n_heads: u32,
        reduce: u32,
        cycle: u32,
        n_cycles: u32,
        decides: u32,
        threshold: f32,
        list: u32,
        staying: u32,
        leaving: u32,
        first_grid: u32,
        n_grids: u32,
    }
}

pub static KERNEL: Kernel = kernel!(
    "common",
    "exit",
    Params::FIELDS,
    Features::empty(),
    &[
        read_write("zeros"),
        read("grids"),
        read_write("rows"),
        read_write("progress"),
        read_write("dispatches"),
    ]
);

/// A dispatch that works on a list which this kernel writes. The layout is the shader's.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Grid {
    pub x: u32,
    pub rows_per_group: u32,
    /// 1: over the rows that exit; 0: over those that continue.
    pub of_leaving: u32,
    pub unused: u32,
}

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

/// One workgroup. `buffers`: zeros, which it leaves averaged, grids, rows, progress, dispatches.
pub fn call(params: Params, buffers: [&wgpu::Buffer; 5]) -> Call<'_> {
    Call {
        kernel: &KERNEL,
        constants: Vec::new(),
        params: params.bytes(),
        resources: on_buffers(&buffers),
        x: 1,
        rows_per_group: 1,
        cost: Cost {
            read_per_row: words(params.n_middle_layers * params.n_heads),
            flops_per_row: u64::from(params.n_middle_layers * params.n_heads),
            ..Cost::default()
        },
    }
}
