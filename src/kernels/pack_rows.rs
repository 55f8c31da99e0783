//! Listed rows of a buffer, normed, into a texture.

use wgpu::Features;

use super::linear::{InputNorm, Norm};
use super::{BatchKind, bound, kernel, params, read, words};
use crate::gpu::{Access, Call, Cost, Kernel, Resource, Target};

params! {
    Params {
        n_in_octets: u32,
        list: u32,
        n_cols: u32,
        eps: f32,
    }
}

pub static KERNEL: Kernel = kernel!(
    "software",
    "pack_rows",
    Params::FIELDS,
    Features::SUBGROUP,
    &[
        read("x"),
        read("rows"),
        read("norm"),
        bound("packed", Access::WriteTexture),
    ]
);

/// Rows that `matmul_texture` reads at a time, at most: the texture's height is a multiple of it.
pub const PACKED_TILE: usize = 8;

/// Values of a row of `packed` for rows of `width`: a texel more, with the scale of its products.
pub const fn packed_width(width: usize) -> usize {
    width + 4
}

/// Whether a linear map of such a batch wants its rows packed.
pub fn is_wanted(target: &Target, kind: BatchKind) -> bool {
    target.uses_textures() && kind != BatchKind::OneRow
}

/// The i-th listed row of `x`, of `n_in_octets`, normed, becomes row i of `packed`.
pub fn call<'a>(
    target: &Target,
    n_in_octets: u32,
    list: u32,
    norm: Option<Norm<'a>>,
    [x, rows]: [&'a wgpu::Buffer; 2],
    packed: Resource<'a>,
) -> Call<'a> {
    let norm = norm.filter(|norm| norm.kind != InputNorm::None);
    let params = Params {
        n_in_octets,
        list,
        n_cols: norm.map_or(0, |norm| norm.n_cols),
        eps: norm.map_or(0.0, |norm| norm.eps),
    };
    let row = words(8 * n_in_octets);
    Call {
        kernel: &KERNEL,
        constants: vec![
            ("SUBGROUP_LANES", target.lanes()),
            ("NORM", norm.map_or(0, |norm| norm.kind as u32)),
        ],
        params: params.bytes(),
        resources: vec![
            Resource::Buffer(x),
            Resource::Buffer(rows),
            norm.map_or(Resource::Unused, |norm| Resource::Buffer(norm.vectors)),
            packed,
        ],
        x: 1,
        rows_per_group: 1,
        cost: Cost {
            read: norm.map_or(0, |norm| norm.kind.n_vectors() * row),
            read_per_row: row,
            written_per_row: row,
            ..Cost::default()
        },
    }
}
