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
/// pair for 128 lanes comes within a twentieth of the best tile from 2,048 inputs on; with 576
/// inputs and many outputs 32 lanes are a third faster.
const WIDE_OCTETS: u32 = 128;

impl Tile {
    /// The tile for rows of `n_in_octets` octets.
    pub fn of(target: &Target, kind: BatchKind, n_in_octets: u32) -> Self {
        match (kind, target.class) {
            (BatchKind::OneRow, KernelClass::Subgroup) => Self::of_pairs(n_in_octets),
            (BatchKind::OneRow, KernelClass::Workgroup) => Self {
                outputs: 8,
                rows: 1,
                workgroup_size: WORKGROUP_SIZE,
                pair_lanes: None,
            },
            (BatchKind::OneRow, KernelClass::Software) => Self {
                outputs: 8 * TEXTURE_WORKGROUP_SIZE,
                rows: 1,
                workgroup_size: TEXTURE_WORKGROUP_SIZE,
                pair_lanes: None,
            },
            (_, KernelClass::Software) => Self {
                outputs: 8 * TEXTURE_WORKGROUP_SIZE,
                rows: 8,
                workgroup_size: TEXTURE_WORKGROUP_SIZE,
                pair_lanes: None,
            },
            (_, KernelClass::Subgroup | KernelClass::Workgroup) => Self {
                outputs: 64,
                rows: 32,
                workgroup_size: WORKGROUP_SIZE,
                pair_lanes: None,
            },
        }
    }

    fn of_pairs(n_in_octets: u32) -> Self {
        let (pair_lanes, workgroup_size) = match n_in_octets >= WIDE_OCTETS {
            true => (128, 128),
            false => (32, 64),
        };
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
        write!(f, "{outputs} outputs x {rows} rows, {workgroup_size} lanes")
    }
}
