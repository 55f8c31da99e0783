//! The shaders of attention in buffers, with their parameters and bindings.

use wgpu::Features;

use super::Params;
use crate::gpu::{Binding, Kernel};
use crate::kernels::{kernel, params, read, read_write};

params! {
    MergeParams {
        head_dim: u32,
        list: u32,
        window: u32,
        middle_layer: u32,
        n_middle_layers: u32,
    }
}

const BINDINGS: &[Binding] = &[
    read("q"),
    read("kv"),
    read("pool"),
    read("rows"),
    read_write("out"),
    read_write("zeros"),
    read_write("parts"),
];

pub static KERNEL: Kernel = kernel!(
    "gpu",
    "attention",
    Params::FIELDS,
    Features::empty(),
    BINDINGS
);

/// Attention of rows that share no keys, a lane for an octet of the head.
pub static SUBGROUP: Kernel = kernel!(
    "gpu",
    "attention_subgroup",
    Params::FIELDS,
    Features::SUBGROUP,
    BINDINGS
);

pub static MERGE: Kernel = kernel!(
    "gpu",
    "merge",
    MergeParams::FIELDS,
    Features::empty(),
    &[
        read("parts"),
        read("rows"),
        read_write("out"),
        read_write("zeros"),
    ]
);
