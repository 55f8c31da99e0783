//! Embeddings of the rows' tokens, and learned positions.

use super::linear::weight_format;
use wgpu::Features;

use super::{LANES, TEXTURE_LANES, bound, kernel, params, read, read_write, words};
use crate::gpu::{Access, Call, Cost, Kernel, Resource, Target};
use crate::model::tensor::Dtype;

params! {
    n_octets: u32,
    first_token: u32,
    n_tokens: u32,
    list: u32,
    has_positions: u32,
}

pub static KERNEL: Kernel = kernel!(
    "gpu",
    "embed",
    FIELDS,
    Features::empty(),
    &[
        read("ids"),
        read("weights"),
        read("positions"),
        read("rows"),
        read_write("x"),
    ]
);

/// Embeddings from a matrix in a texture.
pub static TEXTURE: Kernel = kernel!(
    "software",
    "embed_texture",
    FIELDS,
    Features::empty(),
    &[
        read("ids"),
        bound("weights", Access::Texture),
        read("positions"),
        read("rows"),
        read_write("x"),
    ]
);

/// Ids, weights, positions (f32), rows, x.
pub fn call<'a>(
    target: &Target,
    dtype: Dtype,
    params: Params,
    weights: Resource<'a>,
    [ids, positions, rows, x]: [&'a wgpu::Buffer; 4],
) -> Call<'a> {
    let (kernel, lanes) = match target.uses_textures() {
        true => (&TEXTURE, TEXTURE_LANES),
        false => (&KERNEL, LANES),
    };
    Call {
        kernel,
        constants: vec![weight_format(dtype)],
        params: bytemuck::bytes_of(&params).to_vec(),
        resources: vec![
            Resource::Buffer(ids),
            weights,
            Resource::Buffer(positions),
            Resource::Buffer(rows),
            Resource::Buffer(x),
        ],
        x: params.n_octets.div_ceil(lanes),
        rows_per_group: 1,
        // A token lies in one part of the matrix: its cost is counted with the first part.
        cost: match params.first_token {
            0 => Cost {
                read_per_row: dtype.n_bytes(8 * params.n_octets as usize) as u64
                    + words(8 * params.n_octets * params.has_positions),
                written_per_row: words(8 * params.n_octets),
                ..Cost::default()
            },
            _ => Cost::default(),
        },
    }
}
