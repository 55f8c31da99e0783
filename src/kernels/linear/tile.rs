//! How a linear map is shared among workgroups.

use crate::gpu::{KernelClass, Target};
use crate::kernels::{BatchKind, TEXTURE_WORKGROUP_SIZE, WORKGROUP_SIZE};

/// What a workgroup computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    pub outputs: u32,
    /// Listed rows.
    pub rows: u32,
    /// Invocations of the workgroup.
    pub workgroup_size: u32,
    /// Of `matvec_subgroup`: lanes that share the inputs of two neighbouring outputs.
    pub pair_lanes: Option<u32>,
}

/// Octets of inputs from which on a pair of outputs is worth a workgroup of its own. On an H200 one
/// pair for 128 lanes comes within a twentieth of the best tile with 2,048 inputs and more; with 576
/// inputs and many outputs 32 lanes are a third faster. Nothing in between was measured.
const WIDE_OCTETS: u32 = 128;

impl Tile {
    /// The tile of a matrix of `n_out` rows of `n_in_octets` octets.
    pub fn of(target: &Target, kind: BatchKind, n_in_octets: u32, n_out: u32) -> Self {
        match (kind.is_row_by_row(), target.class) {
            (true, KernelClass::Subgroup) => Self::of_pairs(target, n_in_octets, n_out),
            (true, KernelClass::Workgroup) => Self {
                outputs: 8,
                rows: 1,
                workgroup_size: WORKGROUP_SIZE,
                pair_lanes: None,
            },
            (by_row, KernelClass::Software) => Self {
                outputs: 8 * TEXTURE_WORKGROUP_SIZE,
                rows: if by_row { 1 } else { 8 },
                workgroup_size: TEXTURE_WORKGROUP_SIZE,
                pair_lanes: None,
            },
            (false, KernelClass::Subgroup | KernelClass::Workgroup) => Self {
                outputs: 64,
                rows: 32,
                workgroup_size: WORKGROUP_SIZE,
                pair_lanes: None,
            },
        }
    }

    fn of_pairs(target: &Target, n_in_octets: u32, n_out: u32) -> Self {
        let most_groups = target.limits.max_compute_workgroups_per_dimension;
        let is_wide = n_in_octets >= WIDE_OCTETS;
        let tiles = match is_wide {
            true => [(128, 128), (32, 128), (32, 256)],
            false => [(32, 64), (32, 128), (32, 256)],
        };
        // The first with which the outputs are no more workgroups than a dispatch may have.
        let outputs = |(lanes, size): (u32, u32)| 2 * size / lanes;
        let fits = |tile: &(u32, u32)| n_out.div_ceil(outputs(*tile)) <= most_groups;
        let tile = tiles.into_iter().find(fits);
        let (pair_lanes, workgroup_size) = tile.unwrap_or(tiles[2]);
        Self {
            outputs: 2 * workgroup_size / pair_lanes,
            rows: 1,
            workgroup_size,
            pair_lanes: Some(pair_lanes),
        }
    }

    /// The values of the shader's `WORKGROUP_SIZE` and `PAIR_LANES`, where it takes them.
    pub fn constants(&self) -> Vec<(&'static str, u32)> {
        match self.pair_lanes {
            Some(lanes) => vec![
                ("WORKGROUP_SIZE", self.workgroup_size),
                ("PAIR_LANES", lanes),
            ],
            None => Vec::new(),
        }
    }
}

impl std::fmt::Display for Tile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            outputs,
            rows,
            workgroup_size,
            ..
        } = self;
        write!(
            f,
            "outputs x rows {outputs} x {rows}, {workgroup_size} lanes"
        )
    }
}
