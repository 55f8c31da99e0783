//! Embeddings of the rows' tokens, and learned positions.

use super::linear::weight_format;
use super::{Call, Kernel, LANES, params, read, read_write};
use crate::model::tensor::Dtype;

params! {
    n_octets: u32,
    first_token: u32,
    n_tokens: u32,
    list: u32,
    has_positions: u32,
}

pub static KERNEL: Kernel = Kernel {
    name: "embed",
    source: include_str!("../../shaders/embed.wgsl"),
    bindings: &[
        read("ids"),
        read("weights"),
        read("positions"),
        read("rows"),
        read_write("x"),
    ],
    params: FIELDS,
};

/// `buffers`: ids, weights, positions (f32), rows, x.
pub fn call(dtype: Dtype, params: Params, buffers: [&wgpu::Buffer; 5]) -> Call<'_> {
    Call {
        kernel: &KERNEL,
        constants: vec![weight_format(dtype)],
        params: bytemuck::bytes_of(&params).to_vec(),
        buffers: buffers.to_vec(),
        x: params.n_octets.div_ceil(LANES),
        rows_per_group: 1,
    }
}
