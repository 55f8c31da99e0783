//! Attention in buffers: shaders `attention` and `merge`.

use wgpu::Features;

use super::{FIELDS, Operands, Params, Shape, cost};
use crate::gpu::{Call, Cost, Kernel, Resource};
use crate::kernels::{BatchKind, KvType, LANES, kernel, read, read_write};

pub static KERNEL: Kernel = kernel!(
    "gpu",
    "attention",
    FIELDS,
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
    FIELDS,
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
    pub fn of(kind: BatchKind, shape: Shape) -> Self {
        let one = Self::of_heads(shape);
        match kind {
            BatchKind::OneRow => {
                let split_keys = shape.n_ctx.div_ceil(MAX_SPLITS);
                let split_keys = split_keys.next_multiple_of(MIN_SPLIT_KEYS);
                Self {
                    n_splits: shape.n_ctx.div_ceil(split_keys),
                    split_keys,
                    ..one
                }
            }
            BatchKind::OneSequence => Self {
                rows_per_tile: MAX_ITEMS / one.heads_per_tile,
                ..one
            },
            BatchKind::SeveralSequences => one,
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

/// Attention in buffers, and the merge of its splits where there are any; each with its role.
pub(super) fn calls<'a>(
    kv_type: KvType,
    tiling: Tiling,
    params: Params,
    o: Operands<'a>,
) -> Vec<(Call<'a>, &'static str)> {
    let params = Params {
        heads_per_tile: tiling.heads_per_tile,
        rows_per_tile: tiling.rows_per_tile,
        n_splits: tiling.n_splits,
        split_keys: tiling.split_keys,
        ..params
    };
    let [rows, out, zeros] = [o.rows, o.out, o.zeros].map(Resource::Buffer);
    let params_bytes = bytemuck::bytes_of(&params).to_vec();
    let attention = Call {
        kernel: &KERNEL,
        constants: vec![
            kv_type.constant(),
            ("ITEMS", tiling.heads_per_tile * tiling.rows_per_tile),
            ("HEAD_OCTETS", params.head_octets),
        ],
        params: params_bytes.clone(),
        resources: vec![o.q, o.kv, o.pool, rows, out, zeros, o.scratch],
        x: tiling.n_tiles * tiling.n_splits,
        rows_per_group: tiling.rows_per_tile,
        cost: cost(kv_type, &params),
    };
    let merge = Call {
        kernel: &MERGE,
        constants: Vec::new(),
        params: params_bytes,
        resources: vec![o.scratch, rows, out, zeros],
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_query_head_is_in_exactly_one_tile() {
        for n_kv_heads in 1..5 {
            for group in 1..40 {
                let tiling = Tiling::of(
                    BatchKind::OneSequence,
                    Shape {
                        n_heads: group * n_kv_heads,
                        n_kv_heads,
                        head_octets: 8,
                        n_ctx: 100,
                    },
                );
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
            let tiling = Tiling::of(
                BatchKind::OneRow,
                Shape {
                    n_heads: 9,
                    n_kv_heads: 3,
                    head_octets: 8,
                    n_ctx,
                },
            );
            let (n, keys) = (tiling.n_splits, tiling.split_keys);
            assert!(n * keys >= n_ctx && (n - 1) * keys < n_ctx, "{tiling:?}");
            assert!(n <= MAX_SPLITS && keys.is_multiple_of(MIN_SPLIT_KEYS));
        }
    }
}
