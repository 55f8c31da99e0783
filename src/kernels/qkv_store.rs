//! Queries, keys and values from projected rows, for families that norm query and key heads.

use wgpu::{Buffer, Features};

use super::linear::{PARAMS, Params, Qkv};
use super::{LANES, bound, kernel, read, words};
use crate::gpu::{Access, Binding, Call, Cost, Kernel, Resource, Target};

const fn bindings(q: Access, kv: Access) -> [Binding; 7] {
    [
        read("projected"),
        read("norm"),
        read("bias"),
        read("rows"),
        read("angles"),
        bound("q", q),
        bound("kv", kv),
    ]
}

pub static KERNEL: Kernel = kernel!(
    "gpu",
    "qkv_store",
    PARAMS,
    Features::empty(),
    &bindings(Access::ReadWrite, Access::ReadWrite)
);

/// Queries, keys and values stored to textures.
pub static TEXTURE: Kernel = kernel!(
    "software",
    "qkv_store_texture",
    PARAMS,
    Features::empty(),
    &bindings(Access::WriteTexture, Access::WriteTextureArray)
);

/// `projected`: f32 `[row][y_stride]`. `norm`: f32 `[query, key][8 head_octets]`. `unused` stands
/// for the bias, which was added before.
pub fn call<'a>(
    target: &Target,
    params: Params,
    projected: &'a Buffer,
    norm: &'a Buffer,
    unused: &'a Buffer,
    rows: &'a Buffer,
    qkv: Qkv<'a>,
) -> Call<'a> {
    let buffer = Resource::Buffer;
    let norm_cost = Cost {
        read: words(16 * params.head_octets),
        read_per_row: words(params.n_out),
        // A square and a sum, and two products.
        flops_per_row: u64::from(4 * params.n_out),
        ..Cost::default()
    };
    Call {
        kernel: match target.uses_textures() {
            true => &TEXTURE,
            false => &KERNEL,
        },
        constants: vec![qkv.kv_type.constant()],
        params: bytemuck::bytes_of(&params).to_vec(),
        resources: vec![
            buffer(projected),
            buffer(norm),
            buffer(unused),
            buffer(rows),
            buffer(qkv.angles),
            qkv.q,
            qkv.kv,
        ],
        x: (params.n_out / 8).div_ceil(LANES),
        rows_per_group: 1,
        cost: norm_cost.plus(params.qkv_cost(qkv.kv_type)),
    }
}
