//! Queries, keys and values from projected rows, for families that norm queries and keys, and for
//! caches that are written by whole heads: `qkv_store` and `qkv_store_texture`.

use wgpu::{Buffer, Features};

use super::linear::Qkv;
use super::{Heads, WORKGROUP_SIZE, bound, kernel, on_textures, params, read, read_write, words};
use crate::gpu::{Access, Call, Cost, Kernel, Resource, Target};
use crate::kernels::kv_format;
use crate::model::block::{QkNorm, QkSpan};

params! {
    Params {
        n_out: u32,
        first_output: u32,
        list: u32,
        stride: u32,
        head_dim: u32,
        eps: f32,
        kv_places: u32,
        first_cycle: u32,
        n_cycles: u32,
    }
}

const TEXTURE_FIELDS: &[(&str, usize)] = &on_textures::<{ Params::FIELDS.len() }>(Params::FIELDS);

pub static KERNEL: Kernel = kernel!(
    "gpu",
    "qkv_store",
    Params::FIELDS,
    Features::empty(),
    &[
        read("projected"),
        read("norm"),
        read("rows"),
        read("angles"),
        read_write("y"),
        read_write("kv"),
    ]
);

/// Queries, keys and values stored to textures.
pub static TEXTURE: Kernel = kernel!(
    "software",
    "qkv_store_texture",
    TEXTURE_FIELDS,
    Features::empty(),
    &[
        read("projected"),
        read("norm"),
        read("rows"),
        read("angles"),
        bound("q", Access::WriteTexture),
        bound("kv", Access::WriteTextureArray),
    ]
);

/// Projected rows, and the norm of their queries and keys.
#[derive(Clone, Copy)]
pub struct Projected<'a> {
    /// f32 `[row][stride]`
    pub values: &'a Buffer,
    pub stride: u32,
    pub norm: Option<QkNormWeights<'a>>,
    /// Dimensions of a head without their padding.
    pub head_dim: u32,
    /// Added to the variance.
    pub eps: f32,
    pub rows: &'a Buffer,
    pub list: u32,
    /// The outputs that are stored.
    pub first_output: u32,
    pub n_out: u32,
}

/// A norm of queries and keys with its weights, in the order of the projected rows: the two values
/// of a rotary pair side by side, the padding of heads zero.
#[derive(Clone, Copy)]
pub struct QkNormWeights<'a> {
    /// f32 `[query, key][8 octets]`, or of all heads together `[query heads, key heads][8 octets]`.
    pub weights: &'a Buffer,
    pub norm: QkNorm,
}

impl QkNormWeights<'_> {
    /// The value of the shaders' `QK_NORM`.
    fn constant(&self) -> u32 {
        let span = match self.norm.span {
            QkSpan::Head => 1,
            QkSpan::Width => 3,
        };
        span + u32::from(self.norm.after_rope)
    }

    /// Heads that have weights of their own.
    fn n_heads(&self, heads: Heads) -> u32 {
        match self.norm.span {
            QkSpan::Head => 2,
            QkSpan::Width => heads.n_heads + heads.n_kv_heads,
        }
    }
}

pub fn call<'a>(target: &Target, projected: Projected<'a>, qkv: Qkv<'a>) -> Call<'a> {
    let Projected {
        stride,
        head_dim,
        eps,
        list,
        first_output,
        n_out,
        ..
    } = projected;
    let params = Params {
        n_out,
        first_output,
        list,
        stride,
        head_dim,
        eps,
        kv_places: qkv.kv_places,
        first_cycle: qkv.first_cycle,
        n_cycles: qkv.n_cycles,
    };
    let octets = qkv.heads.octets;
    let norm = projected.norm;
    let norm_heads = norm.map_or(0, |norm| norm.n_heads(qkv.heads));
    let norm_cost = Cost {
        read: words(8 * octets * norm_heads),
        read_per_row: words(n_out),
        // A square and a sum, and two products.
        flops_per_row: norm.map_or(0, |_| u64::from(4 * n_out)),
        ..Cost::default()
    };
    let mut constants = vec![
        kv_format(qkv.kv_type),
        ("HAS_ROPE", qkv.angles.is_some().into()),
        ("QK_NORM", norm.map_or(0, |norm| norm.constant())),
    ];
    constants.extend(qkv.heads.constants());
    Call {
        kernel: match target.uses_textures() {
            true => &TEXTURE,
            false => &KERNEL,
        },
        constants,
        params: params.bytes(),
        resources: vec![
            Resource::Buffer(projected.values),
            norm.map_or(Resource::Unused, |norm| Resource::Buffer(norm.weights)),
            Resource::Buffer(projected.rows),
            qkv.angles.map_or(Resource::Unused, Resource::Buffer),
            qkv.q,
            qkv.kv,
        ],
        // A workgroup holds whole heads.
        x: (n_out / (8 * octets)).div_ceil(WORKGROUP_SIZE / octets),
        rows_per_group: 1,
        cost: norm_cost.plus(qkv.cost(n_out)),
    }
}
