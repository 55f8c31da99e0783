//! The rows that leave after a cycle, and the sizes of the dispatches that follow.

use wgpu::Features;

use super::{kernel, params, read, read_write, row_call};
use crate::gpu::{Call, Cost, Kernel};

params! {
    Params {
        cycle: u32,
        n_cycles: u32,
        has_score: u32,
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

/// One workgroup. `buffers`: grids, rows, progress, dispatches.
pub fn call(params: Params, buffers: [&wgpu::Buffer; 4]) -> Call<'_> {
    row_call(&KERNEL, params.bytes(), &buffers, Cost::default())
}
