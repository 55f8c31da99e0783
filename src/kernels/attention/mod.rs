//! Attention over the cache and the zero token: [`gpu`] in buffers, [`software`] in textures.

pub mod gpu;
pub mod software;

use wgpu::Buffer;

use super::{BatchKind, KvType, params, words};
use crate::gpu::{Call, Cost, Resource, Target};
use gpu::Tiling;

params! {
    n_heads: u32,
    n_kv_heads: u32,
    head_dim: u32,
    head_octets: u32,
    kv_places: u32,
    heads_per_tile: u32,
    rows_per_tile: u32,
    n_splits: u32,
    split_keys: u32,
    cycle: u32,
    list: u32,
    out_stride: u32,
    scale: f32,
    has_zero: u32,
    zero_key: u32,
    zero_value: u32,
    pool_heads: u32,
    window: u32,
    writes_zeros: u32,
    layer: u32,
    n_layers: u32,
}

/// The heads of a layer, and the positions of its cache.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub n_heads: u32,
    pub n_kv_heads: u32,
    pub head_octets: u32,
    pub n_ctx: u32,
}

/// Inputs and outputs of attention; each lies where the target's kernels want it.
#[derive(Clone, Copy)]
pub struct Operands<'a> {
    /// f32 `[row][head][8 head_octets]`
    pub q: Resource<'a>,
    pub kv: Resource<'a>,
    /// f32 `[key or value of a row][head][8 head_octets]`
    pub pool: Resource<'a>,
    pub rows: &'a Buffer,
    /// f32 `[row][out_stride]`
    pub out: &'a Buffer,
    /// Zero attention, f32 `[row][layer][head]`.
    pub zeros: &'a Buffer,
    /// What the kernels hand each other: in a buffer the parts of split keys, in a texture scores,
    /// f32 `[listed row, head][key]`.
    pub scratch: Resource<'a>,
}

/// The calls of attention, each with its role. A sequence has room for `n_ctx` positions.
pub fn calls<'a>(
    target: &Target,
    kind: BatchKind,
    kv_type: KvType,
    n_ctx: u32,
    params: Params,
    operands: Operands<'a>,
) -> Vec<(Call<'a>, &'static str)> {
    if !target.uses_textures() {
        let shape = Shape {
            n_heads: params.n_heads,
            n_kv_heads: params.n_kv_heads,
            head_octets: params.head_octets,
            n_ctx,
        };
        return gpu::calls(kv_type, Tiling::of(kind, shape), params, operands);
    }
    if kind == BatchKind::OneRow {
        let call = software::of_one_row(kv_type, target.lanes(), params, operands);
        return vec![(call, "attention")];
    }
    let calls = software::of_many_rows(kv_type, n_ctx, kind, params, operands);
    calls.into_iter().zip(["scores", "values"]).collect()
}

fn cost(kv_type: KvType, params: &Params) -> Cost {
    let queries = u64::from(params.n_heads * params.head_dim);
    let keys = u64::from(params.n_kv_heads * params.head_dim);
    Cost {
        // The zero token's key, and the queries' way in and out.
        read: match params.has_zero {
            1 => words(params.pool_heads * params.head_dim),
            _ => 0,
        },
        read_per_row: 4 * queries,
        written_per_row: 4 * queries,
        read_per_key: 2 * keys * kv_type.n_bytes() as u64,
        flops_per_row: 2 * queries * u64::from(params.has_zero),
        flops_per_pair: 4 * queries,
        window: match params.window {
            u32::MAX => 0,
            window => window.into(),
        },
    }
}
