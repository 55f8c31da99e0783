//! A branch of a block added to the residual stream of listed rows, with a norm or without.

use wgpu::{Buffer, Features};

use super::{kernel, params, read, read_write, words};
use crate::gpu::{Call, Cost, Kernel, Resource, Target};
use crate::model::family::NormKind;

params! {
    Params {
        n_cols: u32,
        stride: u32,
        list: u32,
        eps: f32,
        multiplier: f32,
    }
}

pub static KERNEL: Kernel = kernel!(
    "common",
    "norm_add",
    Params::FIELDS,
    Features::empty(),
    &[read("branch"), read("norm"), read("rows"), read_write("x"),]
);

/// What the norm is of; `m` is the multiplier of branches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `x += m * branch`
    Add = 0,
    /// `x += m * norm(branch)`
    OnBranch = 1,
    /// `x = norm(x + m * branch)`
    OnSum = 2,
    /// `x = norm(x)`
    Stream = 3,
}

/// What a call reads and changes.
#[derive(Clone, Copy)]
pub struct Operands<'a> {
    /// f32 `[row][stride]`; `None` with [`Place::Stream`].
    pub branch: Option<&'a Buffer>,
    /// f32 `[stride]`, of layer norm `[weights, biases][stride]`; `None` with [`Place::Add`].
    pub norm: Option<&'a Buffer>,
    pub rows: &'a Buffer,
    /// The residual stream, f32 `[row][stride]`.
    pub x: &'a Buffer,
}

/// One workgroup a row.
pub fn call<'a>(
    target: &Target,
    params: Params,
    place: Place,
    kind: NormKind,
    operands: Operands<'a>,
) -> Call<'a> {
    let (norm, n_vectors, norm_flops) = match (place, kind) {
        (Place::Add, _) => (0, 0, 0),
        (_, NormKind::Rms) => (1, 1, 4),
        (_, NormKind::Layer) => (2, 2, 6),
    };
    let has_branch = u32::from(place != Place::Stream);
    let optional = |buffer: Option<&'a Buffer>| buffer.map_or(Resource::Unused, Resource::Buffer);
    Call {
        kernel: &KERNEL,
        constants: vec![
            ("WORKGROUP_SIZE", target.workgroup_of(256)),
            ("PLACE", place as u32),
            ("NORM", norm),
        ],
        params: params.bytes(),
        resources: vec![
            optional(operands.branch),
            optional(operands.norm),
            Resource::Buffer(operands.rows),
            Resource::Buffer(operands.x),
        ],
        x: 1,
        rows_per_group: 1,
        cost: Cost {
            read: words(n_vectors * params.n_cols),
            read_per_row: words((1 + has_branch) * params.n_cols),
            written_per_row: words(params.n_cols),
            flops_per_row: u64::from((2 * has_branch + norm_flops) * params.n_cols),
            ..Cost::default()
        },
    }
}
