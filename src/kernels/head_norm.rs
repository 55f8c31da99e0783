//! Root-mean-square normalisation of query and key heads, in place.

use wgpu::Features;

use super::{Call, Cost, Kernel, on_buffers, params, read, read_write, words};

params! {
    n_heads: u32,
    first_head: u32,
    head_dim: u32,
    stride: u32,
    list: u32,
    eps: f32,
}

pub static KERNEL: Kernel = Kernel {
    name: "head_norm",
    source: include_str!("../../shaders/head_norm.wgsl"),
    bindings: &[read("weight"), read("rows"), read_write("qkv")],
    params: FIELDS,
    needs: Features::empty(),
};

/// One workgroup for each of `n_heads` heads of a row. `buffers`: weight, rows, qkv.
pub fn call(n_heads: u32, params: Params, buffers: [&wgpu::Buffer; 3]) -> Call<'_> {
    Call {
        kernel: &KERNEL,
        constants: Vec::new(),
        params: bytemuck::bytes_of(&params).to_vec(),
        resources: on_buffers(&buffers),
        x: n_heads,
        rows_per_group: 1,
        cost: Cost {
            read: words(2 * params.head_dim),
            read_per_row: words(n_heads * params.head_dim),
            written_per_row: words(n_heads * params.head_dim),
            flops_per_row: u64::from(4 * n_heads * params.head_dim),
            ..Cost::default()
        },
    }
}
