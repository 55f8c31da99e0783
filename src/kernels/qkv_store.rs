//! Rotary embedding, and keys and values into the cache.

use wgpu::Features;

use super::{Call, Cost, Kernel, KvType, LANES, on_buffers, params, read, read_write, words};

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
    needs: Features::empty(),
};

/// `buffers`: qkv, angles, rows, q, kv.
pub fn call(kv_type: KvType, params: Params, buffers: [&wgpu::Buffer; 5]) -> Call<'_> {
    let heads = params.n_heads + 2 * params.n_kv_heads;
    let queries = params.n_heads * params.head_dim * params.with_queries;
    let keys_values = 2 * params.n_kv_heads * params.head_dim;
    Call {
        kernel: &KERNEL,
        constants: vec![kv_type.constant()],
        params: bytemuck::bytes_of(&params).to_vec(),
        resources: on_buffers(&buffers),
        x: (heads * params.head_stride / 2).div_ceil(LANES),
        rows_per_group: 1,
        cost: Cost {
            read_per_row: words(queries + keys_values + 2 * params.n_pairs),
            written_per_row: words(queries)
                + u64::from(keys_values * params.n_cycles) * kv_type.n_bytes() as u64,
            // Two products and a sum each.
            flops_per_row: match params.n_pairs {
                0 => 0,
                _ => u64::from(3 * (queries + keys_values / 2)),
            },
            ..Cost::default()
        },
    }
}
