//! Rotary embedding, and keys and values into the cache.

use super::{Call, Kernel, KvType, LANES, params, read, read_write};

params! {
    n_heads: u32,
    n_kv_heads: u32,
    head_dim: u32,
    head_stride: u32,
    qkv_stride: u32,
    n_ctx: u32,
    n_pairs: u32,
    list: u32,
    first_cycle: u32,
    n_cycles: u32,
    with_queries: u32,
}

pub static KERNEL: Kernel = Kernel {
    name: "qkv_store",
    source: include_str!("../../shaders/qkv_store.wgsl"),
    bindings: &[
        read("qkv"),
        read("angles"),
        read("rows"),
        read_write("q"),
        read_write("kv"),
    ],
    params: FIELDS,
};

/// `buffers`: qkv, angles, rows, q, kv.
pub fn call(kv_type: KvType, params: Params, buffers: [&wgpu::Buffer; 5]) -> Call<'_> {
    let heads = params.n_heads + 2 * params.n_kv_heads;
    Call {
        kernel: &KERNEL,
        constants: vec![kv_type.constant()],
        params: bytemuck::bytes_of(&params).to_vec(),
        buffers: buffers.to_vec(),
        x: (heads * params.head_stride / 2).div_ceil(LANES),
        rows_per_group: 1,
    }
}
