//! Attention in buffers: shaders `attention` and `merge`.

use wgpu::Features;

use super::{Attention, Operands, Params, cost};
use crate::gpu::{Call, Cost, Kernel, Resource};
use crate::kernels::{BatchKind, Heads, WORKGROUP_SIZE, kernel, params, read, read_write};

params! {
    MergeParams {
        head_dim: u32,
        list: u32,
        out_stride: u32,
        window: u32,
        middle_layer: u32,
        n_middle_layers: u32,
    }
}

pub static KERNEL: Kernel = kernel!(
    "gpu",
    "attention",
    Params::FIELDS,
    Features::empty(),
    &[
        read("q"),
        read("kv"),
        read("pool"),
        read("rows"),
        read_write("out"),
        read_write("zeros"),
        read_write("parts"),
    ]
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

impl Tiling {
    /// The tiling for a batch. Rows of several sequences share no keys. One row has its keys split
    /// among workgroups.
    pub fn of(kind: BatchKind, heads: Heads, n_ctx: u32) -> Self {
        let whole = Self::of_heads(heads, n_ctx);
        match kind {
            BatchKind::OneRow => {
                let split_keys = n_ctx.div_ceil(MAX_SPLITS);
                let split_keys = split_keys.next_multiple_of(MIN_SPLIT_KEYS);
                Self {
                    n_splits: n_ctx.div_ceil(split_keys),
                    split_keys,
                    ..whole
                }
            }
            BatchKind::OneSequence => Self {
                rows_per_tile: MAX_ITEMS / whole.heads_per_tile,
                ..whole
            },
            BatchKind::SeveralSequences => whole,
        }
    }

    fn of_heads(heads: Heads, n_ctx: u32) -> Self {
        let group = heads.n_heads / heads.n_kv_heads;
        let tiles = group.div_ceil(MAX_ITEMS);
        let heads_per_tile = group.div_ceil(tiles);
        Self {
            heads_per_tile,
            rows_per_tile: 1,
            n_tiles: heads.n_kv_heads * group.div_ceil(heads_per_tile),
            n_splits: 1,
            split_keys: n_ctx,
        }
    }

    /// Bytes of the partial outputs that the splits of `n_rows` rows write.
    pub fn parts_bytes(&self, heads: Heads, n_rows: u64) -> u64 {
        let vectors = u64::from(heads.n_heads) * u64::from(2 * heads.octets + 1);
        16 * vectors * n_rows * u64::from(self.n_splits)
    }

    /// The values of the shaders' `N_SPLITS` and `SPLIT_KEYS`; of keys that are not split the
    /// default, so that calls share pipelines.
    fn split_constants(&self) -> [(&'static str, u32); 2] {
        let split_keys = match self.n_splits {
            1 => MIN_SPLIT_KEYS,
            _ => self.split_keys,
        };
        [("N_SPLITS", self.n_splits), ("SPLIT_KEYS", split_keys)]
    }
}

/// Attention in buffers, and the merge of its splits where there are any; each with its role.
pub(super) fn calls<'a>(
    tiling: Tiling,
    a: Attention,
    o: Operands<'a>,
) -> Vec<(Call<'a>, &'static str)> {
    let [rows, out, zeros] = [o.rows, o.out, o.zeros].map(Resource::Buffer);
    let params = a.params();
    let mut constants = vec![
        a.kv_type.constant(),
        ("HEADS_PER_TILE", tiling.heads_per_tile),
        ("ROWS_PER_TILE", tiling.rows_per_tile),
    ];
    constants.extend(a.heads.constants());
    constants.extend(tiling.split_constants());
    constants.extend(a.zero_constants());
    let attention = Call {
        kernel: &KERNEL,
        constants,
        params: params.bytes(),
        resources: vec![o.q, o.kv, o.pool, rows, out, zeros, o.scratch],
        x: tiling.n_tiles * tiling.n_splits,
        rows_per_group: tiling.rows_per_tile,
        cost: cost(&a),
    };
    if tiling.n_splits == 1 {
        return vec![(attention, "attention")];
    }
    let params = MergeParams {
        head_dim: params.head_dim,
        list: params.list,
        out_stride: params.out_stride,
        window: params.window,
        middle_layer: params.middle_layer,
        n_middle_layers: params.n_middle_layers,
    };
    let mut constants = vec![
        ("N_HEADS", a.heads.n_heads),
        ("HEAD_OCTETS", a.heads.octets),
    ];
    constants.extend(tiling.split_constants());
    constants.extend(a.zero_constants());
    let merge = Call {
        kernel: &MERGE,
        constants,
        params: params.bytes(),
        resources: vec![o.scratch, rows, out, zeros],
        x: (a.heads.n_heads * a.heads.octets).div_ceil(WORKGROUP_SIZE),
        rows_per_group: 1,
        // The outputs are counted with `attention`.
        cost: Cost::default(),
    };
    vec![(attention, "attention"), (merge, "merge")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_query_head_is_in_exactly_one_tile() {
        for n_kv_heads in 1..5 {
            for group in 1..40 {
                let heads = Heads {
                    n_heads: group * n_kv_heads,
                    n_kv_heads,
                    octets: 8,
                };
                let tiling = Tiling::of(BatchKind::OneSequence, heads, 100);
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
            let heads = Heads {
                n_heads: 9,
                n_kv_heads: 3,
                octets: 8,
            };
            let tiling = Tiling::of(BatchKind::OneRow, heads, n_ctx);
            let (n, keys) = (tiling.n_splits, tiling.split_keys);
            assert!(n * keys >= n_ctx && (n - 1) * keys < n_ctx, "{tiling:?}");
            assert!(n <= MAX_SPLITS && keys.is_multiple_of(MIN_SPLIT_KEYS));
        }
    }
}
