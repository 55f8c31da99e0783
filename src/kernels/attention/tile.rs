//! How attention in buffers is shared among workgroups.

use super::shaders::{KERNEL, SUBGROUP};
use crate::gpu::{Kernel, KernelClass, Target};
use crate::kernels::{BatchKind, Heads, WORKGROUP_SIZE};

/// Query vectors that a workgroup of `attention` holds at most.
const MAX_ITEMS: u32 = 8;

/// Those of `attention_subgroup`, for which lanes have registers: four, and on AMD's older cards, whose
/// subgroups always have 64 lanes, two.
const MAX_LANE_ITEMS: u32 = 4;
const MAX_LANE_ITEMS_OF_64: u32 = 2;

/// Splits of a full KV cache, at most, and their keys, at least: whole blocks of `attention`.
const MAX_SPLITS: u32 = 64;
const MIN_SPLIT_KEYS: u32 = 64;

/// Keys that `attention_subgroup` does not split: on an H200 up to here one large workgroup a head is
/// faster than parts with their merge.
const WHOLE_KEYS: u32 = 512;

/// Keys of a split of `attention_subgroup`, at least.
const ROW_SPLIT_KEYS: u32 = 128;

/// Bytes of workgroup memory that `attention_subgroup` takes for each lane: 33, and some padding.
const LANE_BYTES: u32 = 34;

/// The heads and keys of a workgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    kernel: KernelName,
    /// Neighbouring query heads of one KV head.
    pub heads: u32,
    pub rows: u32,
    /// Parts that the keys of a full KV cache are split into (split-K); 1: they are not.
    pub n_splits: u32,
    pub split_keys: u32,
    pub workgroup_size: u32,
    /// Of `attention_subgroup`: keys that a lane has on their way at a time.
    pub keys_per_step: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KernelName {
    Attention,
    AttentionSubgroup,
}

impl Tile {
    /// The tile for a batch, of a model with these heads and a cache of `n_ctx` positions. Rows of
    /// one sequence share keys. Few rows have their keys split among workgroups.
    pub fn of(target: &Target, kind: BatchKind, heads: Heads, n_ctx: u32) -> Self {
        // A lane of a subgroup for each octet of a head, as a power of two.
        let by_lanes = heads.octets.next_power_of_two() <= target.subgroup[0];
        if target.class == KernelClass::Subgroup && by_lanes {
            return match kind {
                BatchKind::OneRow | BatchKind::FewRows(_) => Self::of_row(target, heads, n_ctx),
                // As of a short cache, whose keys are not split, however long it is.
                BatchKind::SeveralSequences => Self {
                    n_splits: 1,
                    split_keys: n_ctx,
                    ..Self::of_row(target, heads, WHOLE_KEYS)
                },
                BatchKind::OneSequence => Self::of_lane_items(target, heads, n_ctx),
            };
        }
        match kind {
            BatchKind::OneRow | BatchKind::FewRows(_) => Self {
                rows: 1,
                ..Self::of_items(heads, n_ctx).split(MIN_SPLIT_KEYS, n_ctx)
            },
            BatchKind::OneSequence => Self::of_items(heads, n_ctx),
            BatchKind::SeveralSequences => Self {
                rows: 1,
                ..Self::of_items(heads, n_ctx)
            },
        }
    }

    /// The tile of `attention`: query vectors of several heads, and of several rows.
    fn of_items(heads: Heads, n_ctx: u32) -> Self {
        let group = heads.n_heads / heads.n_kv_heads;
        let tiles = group.div_ceil(MAX_ITEMS);
        let heads_per_tile = group.div_ceil(tiles);
        Self {
            kernel: KernelName::Attention,
            heads: heads_per_tile,
            rows: MAX_ITEMS / heads_per_tile,
            n_splits: 1,
            split_keys: n_ctx,
            workgroup_size: WORKGROUP_SIZE,
            keys_per_step: None,
        }
    }

    /// The tile of `attention_subgroup` for many rows of one sequence.
    fn of_lane_items(target: &Target, heads: Heads, n_ctx: u32) -> Self {
        let most = match target.subgroup[0] >= 64 {
            true => MAX_LANE_ITEMS_OF_64,
            false => MAX_LANE_ITEMS,
        };
        let group = heads.n_heads / heads.n_kv_heads;
        let heads_per_tile = group.div_ceil(group.div_ceil(most));
        let rows = most / heads_per_tile;
        Self {
            kernel: KernelName::AttentionSubgroup,
            heads: heads_per_tile,
            rows,
            n_splits: 1,
            split_keys: n_ctx,
            workgroup_size: WORKGROUP_SIZE,
            keys_per_step: Some(if heads_per_tile * rows > 2 { 2 } else { 4 }),
        }
    }

    /// The tile of `attention_subgroup` for rows that share no keys.
    fn of_row(target: &Target, heads: Heads, n_ctx: u32) -> Self {
        let limits = &target.limits;
        let by_memory = limits.max_compute_workgroup_storage_size / LANE_BYTES;
        let most = limits.max_compute_invocations_per_workgroup.min(by_memory);
        let whole = Self {
            kernel: KernelName::AttentionSubgroup,
            heads: 1,
            rows: 1,
            n_splits: 1,
            split_keys: n_ctx,
            workgroup_size: 1 << most.min(512).ilog2(),
            keys_per_step: Some(4),
        };
        if n_ctx <= WHOLE_KEYS {
            return whole;
        }
        let group = heads.n_heads / heads.n_kv_heads;
        Self {
            heads: if group.is_multiple_of(2) { 2 } else { 1 },
            workgroup_size: 128,
            ..whole.split(ROW_SPLIT_KEYS, n_ctx)
        }
    }

    /// This tile with the keys of `n_ctx` positions split.
    fn split(self, least: u32, n_ctx: u32) -> Self {
        let split_keys = n_ctx.div_ceil(MAX_SPLITS).max(least);
        let split_keys = split_keys.next_multiple_of(MIN_SPLIT_KEYS);
        Self {
            n_splits: n_ctx.div_ceil(split_keys),
            split_keys,
            ..self
        }
    }

    pub fn kernel(&self) -> &'static Kernel {
        match self.kernel {
            KernelName::Attention => &KERNEL,
            KernelName::AttentionSubgroup => &SUBGROUP,
        }
    }

    /// Tiles that the heads of a row make.
    pub fn n_tiles(&self, heads: Heads) -> u32 {
        let group = heads.n_heads / heads.n_kv_heads;
        heads.n_kv_heads * group.div_ceil(self.heads)
    }

    /// Bytes of the partial outputs that the splits of `n_rows` rows write.
    pub fn parts_bytes(&self, heads: Heads, n_rows: u64) -> u64 {
        let vectors = u64::from(heads.n_heads) * u64::from(2 * heads.octets + 1);
        16 * vectors * n_rows * u64::from(self.n_splits)
    }

    /// The values that the tile gives to its kernel's constants.
    pub fn constants(&self) -> Vec<(&'static str, u32)> {
        let mut constants = vec![("HEADS_PER_TILE", self.heads), ("ROWS_PER_TILE", self.rows)];
        if let Some(keys) = self.keys_per_step {
            constants.push(("WORKGROUP_SIZE", self.workgroup_size));
            constants.push(("KEYS_PER_STEP", keys));
        }
        constants.extend(self.split_constants());
        constants
    }

    /// The values of the shaders' `N_SPLITS` and `SPLIT_KEYS`; of keys that are not split the
    /// default, so that calls share pipelines.
    pub fn split_constants(&self) -> [(&'static str, u32); 2] {
        let split_keys = match self.n_splits {
            1 => MIN_SPLIT_KEYS,
            _ => self.split_keys,
        };
        [("N_SPLITS", self.n_splits), ("SPLIT_KEYS", split_keys)]
    }
}

impl std::fmt::Display for Tile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            heads,
            rows,
            n_splits,
            split_keys,
            workgroup_size,
            ..
        } = self;
        write!(f, "heads x rows {heads} x {rows}")?;
        if *n_splits > 1 {
            write!(f, ", {n_splits} splits of {split_keys} keys")?;
        }
        write!(f, ", {workgroup_size} lanes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Skip;

    fn target(class: KernelClass) -> Target {
        Target {
            class,
            subgroup: [32, 32],
            limits: wgpu::Limits::default(),
            skip: Skip::ZeroCount,
            matrices: Vec::new(),
        }
    }

    #[test]
    fn every_query_head_is_in_exactly_one_tile() {
        let classes = [KernelClass::Subgroup, KernelClass::Workgroup];
        for (class, kind) in [
            (0, BatchKind::OneSequence),
            (0, BatchKind::OneRow),
            (0, BatchKind::SeveralSequences),
            (1, BatchKind::OneRow),
        ] {
            for n_kv_heads in 1..5 {
                for group in 1..40 {
                    let heads = Heads {
                        n_heads: group * n_kv_heads,
                        n_kv_heads,
                        octets: 8,
                    };
                    let tile = Tile::of(&target(classes[class]), kind, heads, 1000);
                    assert!((1..=MAX_ITEMS).contains(&(tile.heads * tile.rows)));
                    // The shaders count tiles in the same way.
                    let tiles = group.div_ceil(tile.heads);
                    assert_eq!(tile.n_tiles(heads), n_kv_heads * tiles);
                    assert!(tiles * tile.heads >= group);
                    assert!((tiles - 1) * tile.heads < group);
                }
            }
        }
    }

    #[test]
    fn splits_cover_the_cache() {
        for class in [KernelClass::Subgroup, KernelClass::Workgroup] {
            for n_ctx in [1, 31, 64, 65, 512, 513, 2048, 131_072] {
                let heads = Heads {
                    n_heads: 9,
                    n_kv_heads: 3,
                    octets: 8,
                };
                let tile = Tile::of(&target(class), BatchKind::OneRow, heads, n_ctx);
                let (n, keys) = (tile.n_splits, tile.split_keys);
                assert!(n * keys >= n_ctx && (n - 1) * keys < n_ctx, "{tile:?}");
                assert!(n <= MAX_SPLITS, "{tile:?}");
                assert!(n == 1 || keys.is_multiple_of(MIN_SPLIT_KEYS), "{tile:?}");
            }
        }
    }
}
