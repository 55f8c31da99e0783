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
}

impl Tile {
    /// The tile for a batch.
    pub fn of(target: &Target, kind: BatchKind) -> Self {
        match (kind, target.class) {
            (BatchKind::OneRow, KernelClass::Subgroup | KernelClass::Workgroup) => Self {
                outputs: 8,
                rows: 1,
                workgroup_size: WORKGROUP_SIZE,
            },
            (BatchKind::OneRow, KernelClass::Software) => Self {
                outputs: 8 * TEXTURE_WORKGROUP_SIZE,
                rows: 1,
                workgroup_size: TEXTURE_WORKGROUP_SIZE,
            },
            (_, KernelClass::Software) => Self {
                outputs: 8 * TEXTURE_WORKGROUP_SIZE,
                rows: 8,
                workgroup_size: TEXTURE_WORKGROUP_SIZE,
            },
            (_, KernelClass::Subgroup | KernelClass::Workgroup) => Self {
                outputs: 64,
                rows: 32,
                workgroup_size: WORKGROUP_SIZE,
            },
        }
    }
}
