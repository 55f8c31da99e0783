//! The shaders of linear maps, with their parameters and bindings.

use wgpu::Features;

use crate::gpu::{Access, Binding, Kernel};
use crate::kernels::{bound, kernel, on_textures, params, read, read_write};

params! {
    MatvecParams {
        n_in_octets: u32,
        n_out: u32,
        weight_row: u32,
        first_output: u32,
        list: u32,
        n_cols: u32,
        eps: f32,
        y_stride: u32,
        kv_places: u32,
        first_cycle: u32,
        n_cycles: u32,
    }
}

params! {
    MatmulParams {
        n_in_octets: u32,
        n_out: u32,
        weight_row: u32,
        first_output: u32,
        list: u32,
        y_stride: u32,
        kv_places: u32,
        first_cycle: u32,
        n_cycles: u32,
    }
}

const MATVEC_BINDINGS: &[Binding] = &[
    read("x"),
    read("weights"),
    read("bias"),
    read("rows"),
    read_write("y"),
    read("angles"),
    read_write("kv"),
    read("norm"),
];

pub static MATVEC: Kernel = kernel!(
    "gpu",
    "matvec",
    MatvecParams::FIELDS,
    Features::empty(),
    MATVEC_BINDINGS
);

pub static MATVEC_SUBGROUP: Kernel = kernel!(
    "gpu",
    "matvec_subgroup",
    MatvecParams::FIELDS,
    Features::SUBGROUP,
    MATVEC_BINDINGS
);

pub static MATMUL: Kernel = kernel!(
    "gpu",
    "matmul",
    MatmulParams::FIELDS,
    Features::empty(),
    &[
        read("x"),
        read("weights"),
        read("bias"),
        read("rows"),
        read_write("y"),
        read("angles"),
        read_write("kv"),
    ]
);

pub static MATVEC_TEXTURE: Kernel = kernel!(
    "software",
    "matvec_texture",
    &on_textures::<{ MatvecParams::FIELDS.len() }>(MatvecParams::FIELDS),
    Features::SUBGROUP,
    &[
        bound("x", Access::Uniform),
        bound("weights", Access::Texture),
        read("bias"),
        read("rows"),
        read_write("y"),
        read("angles"),
        bound("q", Access::WriteTexture),
        bound("kv", Access::WriteTextureArray),
        bound("norm", Access::Uniform),
    ]
);

pub static MATMUL_TEXTURE: Kernel = kernel!(
    "software",
    "matmul_texture",
    &on_textures::<{ MatmulParams::FIELDS.len() }>(MatmulParams::FIELDS),
    Features::SUBGROUP,
    &[
        bound("x", Access::FloatTexture),
        bound("weights", Access::Texture),
        read("bias"),
        read("rows"),
        read_write("y"),
        read("angles"),
        bound("q", Access::WriteTexture),
        bound("kv", Access::WriteTextureArray),
    ]
);
