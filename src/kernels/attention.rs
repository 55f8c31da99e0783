//! Attention over the cache and the zero token, tiled over rows and query heads.

use wgpu::{Buffer, Features, TextureView};

use super::{KvType, LANES, TEXTURE_LANES, bound, compose, params, read, read_write, words};
use crate::gpu::{Access, Call, Cost, Kernel, Resource, on_buffers};

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

pub static KERNEL: Kernel = Kernel {
    name: "attention",
    source: include_str!("../../shaders/attention.wgsl"),
    compose,
    bindings: &[
        read("q"),
        read("kv"),
        read("pool"),
        read("rows"),
        read_write("out"),
        read_write("zeros"),
        read_write("parts"),
    ],
    params: FIELDS,
    needs: Features::empty(),
};

pub static MERGE: Kernel = Kernel {
    name: "merge",
    source: include_str!("../../shaders/merge.wgsl"),
    compose,
    bindings: &[
        read("parts"),
        read("rows"),
        read_write("out"),
        read_write("zeros"),
    ],
    params: FIELDS,
    needs: Features::empty(),
};

/// Attention of a row that is alone, with everything in textures.
pub static TEXTURE: Kernel = Kernel {
    name: "attention_texture",
    source: include_str!("../../shaders/attention_texture.wgsl"),
    compose,
    bindings: &[
        bound("q", Access::FloatTexture),
        bound("kv", Access::TextureArray),
        bound("pool", Access::FloatTexture),
        read("rows"),
        read_write("out"),
        read_write("zeros"),
    ],
    params: FIELDS,
    needs: Features::SUBGROUP,
};

/// The scores of all keys: the first half of attention of many rows.
pub static SCORES: Kernel = Kernel {
    name: "scores_texture",
    source: include_str!("../../shaders/scores_texture.wgsl"),
    compose,
    bindings: &[
        bound("q", Access::FloatTexture),
        bound("kv", Access::TextureArray),
        read("rows"),
        bound("scores", Access::WriteTexture),
    ],
    params: FIELDS,
    needs: Features::empty(),
};

/// The softmax of the scores, applied to the values: the second half of attention of many rows.
pub static VALUES: Kernel = Kernel {
    name: "values_texture",
    source: include_str!("../../shaders/values_texture.wgsl"),
    compose,
    bindings: &[
        bound("q", Access::FloatTexture),
        bound("kv", Access::TextureArray),
        bound("pool", Access::FloatTexture),
        read("rows"),
        bound("scores", Access::FloatTexture),
        read_write("out"),
        read_write("zeros"),
    ],
    params: FIELDS,
    needs: Features::empty(),
};

/// Query vectors that a workgroup of [`KERNEL`] holds at most.
const MAX_ITEMS: u32 = 8;

/// Splits of a full KV cache, at most, and their keys, at least: whole blocks of the kernel.
const MAX_SPLITS: u32 = 64;
const MIN_SPLIT_KEYS: u32 = 64;

/// How the work of [`KERNEL`] is shared among workgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiling {
    /// Neighbouring query heads of one KV head in a tile.
    pub heads_per_tile: u32,
    /// Rows in a tile.
    pub rows_per_tile: u32,
    /// Tiles of a row.
    pub n_tiles: u32,
    /// Parts that the keys of a full KV cache are split into (split-K); 1: they are not.
    pub n_splits: u32,
    pub split_keys: u32,
}

/// The heads of a layer, and the positions of its cache.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub n_heads: u32,
    pub n_kv_heads: u32,
    pub head_octets: u32,
    pub n_ctx: u32,
}

impl Tiling {
    /// The tiling of a prefill: many rows, whole keys.
    pub fn many_rows(shape: Shape) -> Self {
        let one = Self::of_heads(shape);
        Self {
            rows_per_tile: MAX_ITEMS / one.heads_per_tile,
            ..one
        }
    }

    /// The tiling of rows of several sequences, which share no keys.
    pub fn apart(shape: Shape) -> Self {
        Self::of_heads(shape)
    }

    /// The tiling of a decode step: one row, keys split.
    pub fn one_row(shape: Shape) -> Self {
        let split_keys = shape.n_ctx.div_ceil(MAX_SPLITS);
        let split_keys = split_keys.next_multiple_of(MIN_SPLIT_KEYS);
        Self {
            n_splits: shape.n_ctx.div_ceil(split_keys),
            split_keys,
            ..Self::of_heads(shape)
        }
    }

    fn of_heads(shape: Shape) -> Self {
        let group = shape.n_heads / shape.n_kv_heads;
        let tiles = group.div_ceil(MAX_ITEMS);
        let heads_per_tile = group.div_ceil(tiles);
        Self {
            heads_per_tile,
            rows_per_tile: 1,
            n_tiles: shape.n_kv_heads * group.div_ceil(heads_per_tile),
            n_splits: 1,
            split_keys: shape.n_ctx,
        }
    }

    /// Bytes of the partial outputs that the splits of `n_rows` rows write.
    pub fn parts_bytes(&self, shape: Shape, n_rows: u64) -> u64 {
        let vectors = u64::from(shape.n_heads) * u64::from(2 * shape.head_octets + 1);
        16 * vectors * n_rows * u64::from(self.n_splits)
    }
}

/// Inputs and outputs of attention in buffers.
#[derive(Clone, Copy)]
pub struct Buffers<'a> {
    pub q: &'a Buffer,
    pub kv: &'a Buffer,
    pub pool: &'a Buffer,
    pub rows: &'a Buffer,
    /// f32 `[row][out_stride]`
    pub out: &'a Buffer,
    /// Zero attention, f32 `[row][layer][head]`.
    pub zeros: &'a Buffer,
    /// Partial outputs of the splits, which `merge` reads.
    pub parts: &'a Buffer,
}

/// Attention in buffers, and the merge of its splits where there are any; each with its role.
pub fn in_buffers<'a>(
    kv_type: KvType,
    tiling: Tiling,
    params: Params,
    b: Buffers<'a>,
) -> Vec<(Call<'a>, &'static str)> {
    let params = Params {
        heads_per_tile: tiling.heads_per_tile,
        rows_per_tile: tiling.rows_per_tile,
        n_splits: tiling.n_splits,
        split_keys: tiling.split_keys,
        ..params
    };
    let params_bytes = bytemuck::bytes_of(&params).to_vec();
    let attention = Call {
        kernel: &KERNEL,
        constants: vec![
            kv_type.constant(),
            ("ITEMS", tiling.heads_per_tile * tiling.rows_per_tile),
            ("HEAD_OCTETS", params.head_octets),
        ],
        params: params_bytes.clone(),
        resources: on_buffers(&[b.q, b.kv, b.pool, b.rows, b.out, b.zeros, b.parts]),
        x: tiling.n_tiles * tiling.n_splits,
        rows_per_group: tiling.rows_per_tile,
        cost: cost(kv_type, &params),
    };
    let merge = Call {
        kernel: &MERGE,
        constants: Vec::new(),
        params: params_bytes,
        resources: on_buffers(&[b.parts, b.rows, b.out, b.zeros]),
        x: (params.n_heads * params.head_octets).div_ceil(LANES),
        rows_per_group: 1,
        // The outputs are counted with `attention`.
        cost: Cost::default(),
    };
    match tiling.n_splits {
        1 => vec![(attention, "attention")],
        _ => vec![(attention, "attention"), (merge, "merge")],
    }
}

/// Inputs and outputs of attention in textures.
#[derive(Clone, Copy)]
pub struct Textures<'a> {
    /// f32 `[row][head, head_stride]`
    pub q: &'a TextureView,
    pub kv: &'a TextureView,
    /// f32 `[key or value of a row][head, head_stride]`
    pub pool: &'a TextureView,
    pub rows: &'a Buffer,
    /// f32 `[listed row, head][key]`
    pub scores: &'a TextureView,
    /// f32 `[row][out_stride]`
    pub out: &'a Buffer,
    /// Zero attention, f32 `[row][layer][head]`.
    pub zeros: &'a Buffer,
}

/// Attention in textures of a row that is alone in its batch; `lanes`: see
/// [`KernelClass::lanes`](crate::gpu::KernelClass::lanes).
pub fn of_one_row<'a>(kv_type: KvType, lanes: u32, params: Params, t: Textures<'a>) -> Call<'a> {
    Call {
        kernel: &TEXTURE,
        constants: vec![kv_type.constant(), ("LANES", lanes)],
        params: bytemuck::bytes_of(&params).to_vec(),
        resources: vec![
            Resource::Texture(t.q),
            Resource::Texture(t.kv),
            Resource::Texture(t.pool),
            Resource::Buffer(t.rows),
            Resource::Buffer(t.out),
            Resource::Buffer(t.zeros),
        ],
        x: params.n_heads * params.head_octets.div_ceil(TEXTURE_LANES),
        rows_per_group: 1,
        cost: cost(kv_type, &params),
    }
}

/// Rows of a quartet of query vectors; see `shaders/shared/quartet.wgsl`.
const QUARTET_ROWS: u32 = 4;

/// Workgroups that share the keys of a quartet, at most.
const MAX_KEY_GROUPS: u32 = 4;

/// Attention in textures of many rows: scores, then values. A sequence has room for `n_ctx`
/// positions; rows `apart` are of several sequences.
pub fn of_many_rows<'a>(
    kv_type: KvType,
    n_ctx: u32,
    apart: bool,
    params: Params,
    t: Textures<'a>,
) -> [Call<'a>; 2] {
    let key_groups = n_ctx.div_ceil(8 * TEXTURE_LANES).min(MAX_KEY_GROUPS);
    let rows_per_tile = if apart { 1 } else { QUARTET_ROWS };
    let params = Params {
        rows_per_tile,
        n_splits: key_groups,
        ..params
    };
    let params_bytes = bytemuck::bytes_of(&params).to_vec();
    let whole = cost(kv_type, &params);
    let halved = Cost {
        read_per_key: whole.read_per_key / 2,
        flops_per_pair: whole.flops_per_pair / 2,
        window: whole.window,
        ..Cost::default()
    };
    let scores = Call {
        kernel: &SCORES,
        constants: vec![kv_type.constant()],
        params: params_bytes.clone(),
        resources: vec![
            Resource::Texture(t.q),
            Resource::Texture(t.kv),
            Resource::Buffer(t.rows),
            Resource::Texture(t.scores),
        ],
        x: params.n_heads * key_groups,
        rows_per_group: rows_per_tile,
        cost: Cost {
            read_per_row: whole.read_per_row,
            ..halved
        },
    };
    let octet_groups = params.head_octets.div_ceil(TEXTURE_LANES);
    let values = Call {
        kernel: &VALUES,
        constants: vec![kv_type.constant()],
        params: params_bytes,
        resources: vec![
            Resource::Texture(t.q),
            Resource::Texture(t.kv),
            Resource::Texture(t.pool),
            Resource::Buffer(t.rows),
            Resource::Texture(t.scores),
            Resource::Buffer(t.out),
            Resource::Buffer(t.zeros),
        ],
        x: params.n_heads * octet_groups,
        rows_per_group: rows_per_tile,
        cost: Cost {
            read: whole.read,
            written_per_row: whole.written_per_row,
            flops_per_row: whole.flops_per_row,
            ..halved
        },
    };
    [scores, values]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_query_head_is_in_exactly_one_tile() {
        for n_kv_heads in 1..5 {
            for group in 1..40 {
                let tiling = Tiling::many_rows(Shape {
                    n_heads: group * n_kv_heads,
                    n_kv_heads,
                    head_octets: 8,
                    n_ctx: 100,
                });
                let items = tiling.heads_per_tile * tiling.rows_per_tile;
                assert!((1..=MAX_ITEMS).contains(&items));
                // The shader counts tiles in the same way.
                let tiles = group.div_ceil(tiling.heads_per_tile);
                assert_eq!(tiling.n_tiles, n_kv_heads * tiles);
                assert!(tiles * tiling.heads_per_tile >= group);
                assert!((tiles - 1) * tiling.heads_per_tile < group);
            }
        }
    }

    #[test]
    fn splits_cover_the_cache() {
        for n_ctx in [1, 31, 64, 65, 2048, 131_072] {
            let tiling = Tiling::one_row(Shape {
                n_heads: 9,
                n_kv_heads: 3,
                head_octets: 8,
                n_ctx,
            });
            let (n, keys) = (tiling.n_splits, tiling.split_keys);
            assert!(n * keys >= n_ctx && (n - 1) * keys < n_ctx, "{tiling:?}");
            assert!(n <= MAX_SPLITS && keys.is_multiple_of(MIN_SPLIT_KEYS));
        }
    }
}
