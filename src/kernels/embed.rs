//! Embeddings of the rows' tokens, and learned positions.

use wgpu::Features;

use super::{
    TEXTURE_WORKGROUP_SIZE, WORKGROUP_SIZE, bound, kernel, params, read, read_write, weight_format,
    words,
};
use crate::gpu::{Access, Call, Cost, Kernel, Resource, Target};
use crate::model::tensor::Dtype;

params! {
    Params {
        n_octets: u32,
        first_token: u32,
        n_tokens: u32,
        list: u32,
        multiplier: f32,
    }
}

pub static KERNEL: Kernel = kernel!(
    "gpu",
    "embed",
    Params::FIELDS,
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
    Params::FIELDS,
    Features::empty(),
    &[
        read("ids"),
        bound("weights", Access::Texture),
        read("positions"),
        read("rows"),
        read_write("x"),
    ]
);

/// The tokens' embeddings, and learned positions where there are some.
pub fn call<'a>(
    target: &Target,
    dtype: Dtype,
    params: Params,
    weights: Resource<'a>,
    positions: Option<&'a wgpu::Buffer>,
    [ids, rows, x]: [&'a wgpu::Buffer; 3],
) -> Call<'a> {
    let (kernel, lanes) = match target.uses_textures() {
        true => (&TEXTURE, TEXTURE_WORKGROUP_SIZE),
        false => (&KERNEL, WORKGROUP_SIZE),
    };
    let has_positions = u32::from(positions.is_some());
    Call {
        kernel,
        constants: vec![weight_format(dtype), ("HAS_POSITIONS", has_positions)],
        params: params.bytes(),
        resources: vec![
            Resource::Buffer(ids),
            weights,
            positions.map_or(Resource::Unused, Resource::Buffer),
            Resource::Buffer(rows),
            Resource::Buffer(x),
        ],
        x: params.n_octets.div_ceil(lanes),
        rows_per_group: 1,
        // A token lies in one part of the matrix: its cost is counted with the first part.
        cost: match params.first_token {
            0 => Cost {
                read_per_row: dtype.n_bytes(8 * params.n_octets as usize) as u64
                    + words(8 * params.n_octets * has_positions),
                written_per_row: words(8 * params.n_octets),
                ..Cost::default()
            },
            _ => Cost::default(),
        },
    }
}
