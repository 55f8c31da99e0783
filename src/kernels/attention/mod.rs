//! Attention over the cache and the zero token: `gpu` in buffers (`attention`, `attention_subgroup`,
//! `merge`), `software` in textures (`attention_texture`, `scores_texture`, `values_texture`).

mod gpu;
mod shaders;
mod software;
mod tile;

use wgpu::Buffer;

use super::{BatchKind, Heads, KvType, on_textures, params, words};
use crate::gpu::{Call, Cost, Resource, Target};
pub use shaders::{KERNEL, MERGE, SUBGROUP};
pub use software::{SCORES, TEXTURE, VALUES};
pub use tile::Tile;

params! {
    /// Of `attention`, `attention_texture` and `values_texture`.
    Params {
        head_dim: u32,
        kv_places: u32,
        cycle: u32,
        list: u32,
        scale: f32,
        soft_cap: f32,
        zero_key: u32,
        zero_value: u32,
        pool_heads: u32,
        window: u32,
        middle_layer: u32,
        n_middle_layers: u32,
    }
}

const TEXTURE_FIELDS: &[(&str, usize)] = &on_textures::<{ Params::FIELDS.len() }>(Params::FIELDS);

/// One attention of a pass.
#[derive(Clone, Copy, Debug)]
pub struct Attention {
    pub heads: Heads,
    /// Dimensions of a head without their padding.
    pub head_dim: u32,
    pub kv_type: KvType,
    /// Places of the cache, in a texture the logarithm of those in a row of texels.
    pub kv_places: u32,
    pub cycle: u32,
    /// The list of rows.
    pub list: u32,
    pub scale: f32,
    /// Of scores after their scale; a positive number.
    pub soft_cap: Option<f32>,
    pub zero: Option<ZeroToken>,
    /// Keys that a row sees at most, its own counted.
    pub window: u32,
    /// The middle layer whose zero attention is written; `None` where it is not.
    pub middle_layer: Option<u32>,
    pub n_middle_layers: u32,
    /// Positions that a sequence has room for.
    pub n_ctx: u32,
}

/// The zero token of a layer: the rows of the pool that hold its key and its value.
#[derive(Clone, Copy, Debug)]
pub struct ZeroToken {
    pub key_row: u32,
    pub value_row: u32,
    /// Heads of a row of the pool.
    pub n_heads: u32,
}

impl Attention {
    fn params(&self) -> Params {
        let zero = self.zero;
        Params {
            head_dim: self.head_dim,
            kv_places: self.kv_places,
            cycle: self.cycle,
            list: self.list,
            scale: self.scale,
            soft_cap: self.soft_cap.unwrap_or(0.0),
            zero_key: zero.map_or(0, |zero| zero.key_row),
            zero_value: zero.map_or(0, |zero| zero.value_row),
            pool_heads: zero.map_or(1, |zero| zero.n_heads),
            window: self.window,
            middle_layer: self.middle_layer.unwrap_or(0),
            n_middle_layers: self.n_middle_layers,
        }
    }

    /// The value of the shaders' `SOFT_CAP`.
    fn cap_constant(&self) -> (&'static str, u32) {
        ("SOFT_CAP", self.soft_cap.is_some().into())
    }

    /// The values of the shaders' `HAS_ZERO` and `WRITES_ZEROS`.
    fn zero_constants(&self) -> [(&'static str, u32); 2] {
        [
            ("HAS_ZERO", self.zero.is_some().into()),
            ("WRITES_ZEROS", self.middle_layer.is_some().into()),
        ]
    }
}

/// Inputs and outputs of attention; each lies where the target's kernels want it.
#[derive(Clone, Copy)]
pub struct Operands<'a> {
    /// f32 `[row][head][8 octets]`
    pub q: Resource<'a>,
    pub kv: Resource<'a>,
    /// f32 `[key or value of a row][head][8 octets]`
    pub pool: Resource<'a>,
    pub rows: &'a Buffer,
    /// f32 `[row][head][head_dim]`, rows padded to octets.
    pub out: &'a Buffer,
    /// Zero attention, f32 `[row][layer][head]`.
    pub zeros: &'a Buffer,
    /// What the kernels hand each other: in a buffer the parts of split keys, in a texture scores,
    /// f32 `[listed row, head][key]`.
    pub scratch: Resource<'a>,
}

/// The calls of an attention, each with its role.
pub fn calls<'a>(
    target: &Target,
    kind: BatchKind,
    attention: Attention,
    operands: Operands<'a>,
) -> Vec<(Call<'a>, &'static str)> {
    if !target.uses_textures() {
        let tile = Tile::of(target, kind, attention.heads, attention.n_ctx);
        return gpu::calls(tile, attention, operands);
    }
    if kind.is_few() {
        let call = software::of_few_rows(target.lanes(), attention, operands);
        return vec![(call, "attention")];
    }
    let calls = software::of_many_rows(kind, attention, operands);
    calls.into_iter().zip(["scores", "values"]).collect()
}

fn cost(a: &Attention) -> Cost {
    let queries = u64::from(a.heads.n_heads * a.head_dim);
    let row_bytes = a.kv_type.row_bytes(a.heads.octets as usize) as u64;
    Cost {
        // The zero token's key, and the queries' way in and out.
        read: a.zero.map_or(0, |zero| words(zero.n_heads * a.head_dim)),
        read_per_row: 4 * queries,
        written_per_row: 4 * queries,
        read_per_key: 2 * u64::from(a.heads.n_kv_heads) * row_bytes,
        flops_per_row: 2 * queries * u64::from(a.zero.is_some()),
        flops_per_pair: 4 * queries,
        window: match a.window {
            u32::MAX => 0,
            window => window.into(),
        },
    }
}
