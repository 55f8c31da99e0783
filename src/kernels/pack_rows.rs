//! Listed rows of a buffer into a texture.

use wgpu::Features;

use super::{BatchKind, TEXTURE_WORKGROUP_SIZE, bound, kernel, params, read, words};
use crate::gpu::{Access, Call, Cost, Kernel, Resource, Target};

params! {
    Params {
        n_octets: u32,
        list: u32,
    }
}

pub static KERNEL: Kernel = kernel!(
    "software",
    "pack_rows",
    Params::FIELDS,
    Features::empty(),
    &[
        read("x"),
        read("rows"),
        bound("packed", Access::WriteTexture),
    ]
);

/// Rows that `matmul_texture` reads at a time: the texture's height is a multiple of it.
pub const PACKED_TILE: usize = 8;

/// Whether a linear map of such a batch wants its rows packed.
pub fn is_wanted(target: &Target, kind: BatchKind) -> bool {
    target.uses_textures() && !kind.is_few()
}

/// The i-th listed row of `x` becomes row i of `packed`.
pub fn call<'a>(
    params: Params,
    x: &'a wgpu::Buffer,
    rows: &'a wgpu::Buffer,
    packed: Resource<'a>,
) -> Call<'a> {
    Call {
        kernel: &KERNEL,
        constants: Vec::new(),
        params: params.bytes(),
        resources: vec![Resource::Buffer(x), Resource::Buffer(rows), packed],
        x: (2 * params.n_octets).div_ceil(TEXTURE_WORKGROUP_SIZE),
        rows_per_group: 1,
        cost: Cost {
            read_per_row: words(8 * params.n_octets),
            written_per_row: words(8 * params.n_octets),
            ..Cost::default()
        },
    }
}
