//! Queries, keys and values from projected rows, for families that norm query and key heads:
//! `qkv_store` and `qkv_store_texture`.

use wgpu::{Buffer, Features};

use super::linear::Qkv;
use super::{WORKGROUP_SIZE, bound, kernel, on_textures, params, read, read_write, words};
use crate::gpu::{Access, Call, Cost, Kernel, Resource, Target};

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

/// Projected rows, and the norms of their query and key heads.
#[derive(Clone, Copy)]
pub struct Projected<'a> {
    /// f32 `[row][stride]`
    pub values: &'a Buffer,
    pub stride: u32,
    /// f32 `[query, key][8 octets]`
    pub norm: &'a Buffer,
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
    let norm_cost = Cost {
        read: words(16 * qkv.heads.octets),
        read_per_row: words(n_out),
        // A square and a sum, and two products.
        flops_per_row: u64::from(4 * n_out),
        ..Cost::default()
    };
    let mut constants = vec![
        qkv.kv_type.constant(),
        ("HAS_ROPE", qkv.angles.is_some().into()),
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
            Resource::Buffer(projected.norm),
            Resource::Buffer(projected.rows),
            qkv.angles.map_or(Resource::Unused, Resource::Buffer),
            qkv.q,
            qkv.kv,
        ],
        x: (n_out / 8).div_ceil(WORKGROUP_SIZE),
        rows_per_group: 1,
        cost: norm_cost.plus(qkv.cost(n_out)),
    }
}
