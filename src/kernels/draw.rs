//! One token of the candidates.

use wgpu::Features;

use super::{kernel, params, read, read_write, words};
use crate::gpu::{Call, Cost, Kernel, on_buffers};

params! {
    Params {
        n_candidates: u32,
        top_p: u32,
        min_p_distance: f32,
        plain_scale: f32,
        tempered_scale: f32,
        seed: u32,
    }
}

pub static KERNEL: Kernel = kernel!(
    "common",
    "draw",
    Params::FIELDS,
    Features::empty(),
    &[read("candidates"), read_write("history"), read_write("ids")]
);

/// The id drawn where a logit is not finite.
pub const NO_TOKEN: u32 = u32::MAX;

/// One workgroup. `buffers`: candidates, history, ids, of which the first is written.
pub fn call(params: Params, buffers: [&wgpu::Buffer; 3]) -> Call<'_> {
    Call {
        kernel: &KERNEL,
        constants: Vec::new(),
        params: params.bytes(),
        resources: on_buffers(&buffers),
        x: 1,
        rows_per_group: 1,
        cost: Cost {
            read_per_row: words(2 * params.n_candidates),
            written_per_row: words(4),
            flops_per_row: u64::from(3 * params.n_candidates),
            ..Cost::default()
        },
    }
}
