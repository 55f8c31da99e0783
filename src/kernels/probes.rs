//! Kernels that compute nothing of use: they find out what an adapter can do.
//!
//! All share one block of parameters; see each shader for their meaning.

use wgpu::Features;

use super::{bound, kernel, params, read, read_write};
use crate::gpu::{Access, Binding, Call, Cost, Kernel, Resource};

params! {
    Params {
        n_steps: u32,
        lane_step: u32,
        step: u32,
        stream_step: u32,
        seed: u32,
        a: f32,
        b: f32,
    }
}

/// Every probe, for the tests that look at all of them.
pub static PROBES: &[&Kernel] = &[
    &BARRIER,
    &COPY,
    &FMA_F16,
    &FMA_F32,
    &MATRIX,
    &READ,
    &READ_STORAGE_TEXTURE,
    &READ_TEXTURE,
    &SKIP,
    &SUBGROUP_SUM,
    &WORKGROUP_SUM,
    &WRITE,
];

const NOTHING: Features = Features::empty();
const COOPERATIVE: Features = Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
const OUT: &[Binding] = &[read_write("out")];

pub static BARRIER: Kernel = kernel!("probes", "barrier", Params::FIELDS, NOTHING, OUT);
pub static COPY: Kernel = kernel!(
    "probes",
    "copy",
    Params::FIELDS,
    NOTHING,
    &[read("data"), read_write("to")]
);
pub static FMA_F16: Kernel = kernel!(
    "probes",
    "fma_f16",
    Params::FIELDS,
    Features::SHADER_F16,
    OUT
);
pub static FMA_F32: Kernel = kernel!("probes", "fma_f32", Params::FIELDS, NOTHING, OUT);
pub static MATRIX: Kernel = kernel!(
    "probes",
    "matrix",
    Params::FIELDS,
    Features::SHADER_F16.union(COOPERATIVE),
    &[read("data"), read("start"), read_write("out")]
);
pub static READ: Kernel = kernel!(
    "probes",
    "read",
    Params::FIELDS,
    NOTHING,
    &[read("data"), read_write("out")]
);
pub static READ_STORAGE_TEXTURE: Kernel = kernel!(
    "probes",
    "read_storage_texture",
    Params::FIELDS,
    NOTHING,
    &[bound("data", Access::Texture), read_write("out")]
);
pub static READ_TEXTURE: Kernel = kernel!(
    "probes",
    "read_texture",
    Params::FIELDS,
    NOTHING,
    &[bound("data", Access::SampledTexture), read_write("out")]
);
pub static SKIP: Kernel = kernel!(
    "probes",
    "skip",
    Params::FIELDS,
    NOTHING,
    &[read("flag"), read_write("out")]
);
pub static SUBGROUP_SUM: Kernel = kernel!(
    "probes",
    "subgroup_sum",
    Params::FIELDS,
    Features::SUBGROUP,
    OUT
);
pub static WORKGROUP_SUM: Kernel = kernel!("probes", "workgroup_sum", Params::FIELDS, NOTHING, OUT);
pub static WRITE: Kernel = kernel!(
    "probes",
    "write",
    Params::FIELDS,
    NOTHING,
    &[read_write("data")]
);

/// `x` workgroups. `resources`: as the probe's bindings.
pub fn call<'a>(
    kernel: &'static Kernel,
    params: Params,
    resources: Vec<Resource<'a>>,
    x: u32,
) -> Call<'a> {
    Call {
        kernel,
        constants: Vec::new(),
        params: params.bytes(),
        resources,
        x,
        rows_per_group: 1,
        cost: Cost::default(),
    }
}
