//! Keys and values of one cycle to the cycles after it.

use wgpu::Features;

use super::{Call, Cost, Kernel, KvType, LANES, on_buffers, params, read, read_write, words};

params! {
    n_kv_heads: u32,
    n_ctx: u32,
    head_stride: u32,
    list: u32,
    cycle: u32,
    n_copies: u32,
}

pub static KERNEL: Kernel = Kernel {
    name: "kv_copy",
    source: include_str!("../../shaders/kv_copy.wgsl"),
    bindings: &[read("rows"), read_write("kv")],
    params: FIELDS,
    needs: Features::empty(),
};

/// `buffers`: rows, kv.
pub fn call(kv_type: KvType, params: Params, buffers: [&wgpu::Buffer; 2]) -> Call<'_> {
    let n_words = 2 * params.n_kv_heads * params.head_stride * kv_type.n_bytes() as u32 / 4;
    Call {
        kernel: &KERNEL,
        constants: vec![kv_type.constant()],
        params: bytemuck::bytes_of(&params).to_vec(),
        resources: on_buffers(&buffers),
        x: n_words.div_ceil(LANES),
        rows_per_group: 1,
        cost: Cost {
            read_per_row: words(n_words),
            written_per_row: words(n_words * params.n_copies),
            ..Cost::default()
        },
    }
}
