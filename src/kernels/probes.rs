//! Kernels that compute nothing of use: they find out what an adapter can do.
//!
//! All share one block of parameters; see each shader for their meaning.

use wgpu::Features;

use super::{bound, compose, params, read, read_write};
use crate::gpu::{Access, Binding, Call, Cost, Kernel, Resource};

params! {
    n_steps: u32,
    lane_step: u32,
    step: u32,
    stream_step: u32,
    seed: u32,
    a: f32,
    b: f32,
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

/// Declares a probe: its name, what it needs of the device, and its bindings.
macro_rules! probe {
    ($item:ident, $name:literal, $needs:expr, $bindings:expr) => {
        pub static $item: Kernel = Kernel {
            name: $name,
            source: include_str!(concat!("../../shaders/probes/", $name, ".wgsl")),
            compose,
            bindings: $bindings,
            params: FIELDS,
            needs: $needs,
        };
    };
}

const NOTHING: Features = Features::empty();
const COOPERATIVE: Features = Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
const OUT: &[Binding] = &[read_write("out")];

probe!(BARRIER, "barrier", NOTHING, OUT);
probe!(COPY, "copy", NOTHING, &[read("data"), read_write("to")]);
probe!(FMA_F16, "fma_f16", Features::SHADER_F16, OUT);
probe!(FMA_F32, "fma_f32", NOTHING, OUT);
probe!(
    MATRIX,
    "matrix",
    Features::SHADER_F16.union(COOPERATIVE),
    &[read("data"), read("start"), read_write("out")]
);
probe!(READ, "read", NOTHING, &[read("data"), read_write("out")]);
probe!(
    READ_STORAGE_TEXTURE,
    "read_storage_texture",
    NOTHING,
    &[bound("data", Access::Texture), read_write("out")]
);
probe!(
    READ_TEXTURE,
    "read_texture",
    NOTHING,
    &[bound("data", Access::SampledTexture), read_write("out")]
);
probe!(SKIP, "skip", NOTHING, &[read("flag"), read_write("out")]);
probe!(SUBGROUP_SUM, "subgroup_sum", Features::SUBGROUP, OUT);
probe!(WORKGROUP_SUM, "workgroup_sum", NOTHING, OUT);
probe!(WRITE, "write", NOTHING, &[read_write("data")]);

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
        params: bytemuck::bytes_of(&params).to_vec(),
        resources,
        x,
        rows_per_group: 1,
        cost: Cost::default(),
    }
}
