//! One token of the candidates of each row of logits.

use wgpu::Features;

use super::top_k::MAX_CANDIDATES;
use super::{kernel, params, read, read_write, row_call, words};
use crate::gpu::{Call, Cost, Kernel};

params! {
    Params {
        list: u32,
    }
}

pub static KERNEL: Kernel = kernel!(
    "common",
    "draw",
    Params::FIELDS,
    Features::empty(),
    &[
        read("candidates"),
        read("draw_rules"),
        read("rows"),
        read_write("history"),
        read_write("drawn"),
    ]
);

/// The id drawn where a logit is not finite.
pub const NO_TOKEN: u32 = u32::MAX;

/// How the tokens of a sequence are drawn. The layout is that of `shaders/shared/draw_rule.wgsl`,
/// which says what each member means.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct DrawRule {
    pub n_candidates: u32,
    pub top_p: u32,
    pub min_p_distance: f32,
    pub plain_scale: f32,
    pub tempered_scale: f32,
    pub seed: u32,
    pub seen_positive: f32,
    pub seen_negative: f32,
    pub has_bias: u32,
    pub has_mask: u32,
}

/// A workgroup for each row of logits. `buffers`: candidates, rules, rows, history, drawn.
pub fn call(params: Params, buffers: [&wgpu::Buffer; 5]) -> Call<'_> {
    let n_candidates = MAX_CANDIDATES as u32;
    let cost = Cost {
        read_per_row: words(2 * n_candidates),
        written_per_row: words(1),
        flops_per_row: u64::from(3 * n_candidates),
        ..Cost::default()
    };
    row_call(&KERNEL, params.bytes(), &buffers, cost)
}
