//! How a linear map is shared among workgroups.

use crate::gpu::{KernelClass, Target};
use crate::kernels::{BatchKind, TEXTURE_WORKGROUP_SIZE, WORKGROUP_SIZE};
use crate::model::quant::Quant;
use crate::model::tensor::Dtype;

/// What a workgroup computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    pub outputs: u32,
    /// Listed rows.
    pub rows: u32,
    /// Invocations of the workgroup.
    pub workgroup_size: u32,
    /// Of `matvec` and `matvec_subgroup`.
    pub group: Option<Group>,
}

/// Lanes that share the inputs of neighbouring outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    pub lanes: u32,
    pub outputs: u32,
}

/// Octets of inputs from which on a group of outputs is worth a workgroup of its own. On an H200 two
/// outputs for 128 lanes come within a twentieth of the best tile with 2,048 inputs and more; with
/// 576 inputs and many outputs 32 lanes are a third faster. Nothing in between was measured.
const WIDE_OCTETS: u32 = 128;

impl Tile {
    /// The tile of a matrix of `n_out` rows of `n_in_octets` octets of `dtype`.
    pub fn of(
        target: &Target,
        kind: BatchKind,
        dtype: Dtype,
        n_in_octets: u32,
        n_out: u32,
    ) -> Self {
        let rows = match kind {
            BatchKind::OneRow => 1,
            BatchKind::FewRows(rows) => rows,
            BatchKind::OneSequence | BatchKind::SeveralSequences if target.uses_textures() => 8,
            BatchKind::OneSequence | BatchKind::SeveralSequences => 32,
        };
        match (kind.is_few(), target.class) {
            (true, KernelClass::Subgroup | KernelClass::Workgroup) => {
                let outputs = group_outputs(target, dtype, rows);
                Self::of_groups(target, outputs, rows, n_in_octets, n_out)
            }
            (_, KernelClass::Software) => Self {
                outputs: 8 * TEXTURE_WORKGROUP_SIZE,
                rows,
                workgroup_size: TEXTURE_WORKGROUP_SIZE,
                group: None,
            },
            (false, KernelClass::Subgroup | KernelClass::Workgroup) => Self {
                outputs: 64,
                rows,
                workgroup_size: WORKGROUP_SIZE,
                group: None,
            },
        }
    }

    /// The lanes of a group decide the order of sums: they must not depend on `outputs` or `rows`.
    fn of_groups(target: &Target, outputs: u32, rows: u32, n_in_octets: u32, n_out: u32) -> Self {
        let most_groups = target.limits.max_compute_workgroups_per_dimension;
        // Lanes of a group, and of the workgroup; the last one has 16 outputs or more.
        let tiles = match n_in_octets >= WIDE_OCTETS {
            true => [(128, 128), (128, 256), (32, 256)],
            false => [(32, 64), (32, 128), (32, 256)],
        };
        // The first with which the outputs, two a group, are no more workgroups than a dispatch may
        // have.
        let fits = |(lanes, size): &(u32, u32)| n_out.div_ceil(2 * size / lanes) <= most_groups;
        let (lanes, workgroup_size) = tiles.into_iter().find(fits).unwrap_or(tiles[2]);
        // Without subgroups each lane keeps the sums of every row, and squares, 16 bytes each.
        let most_bytes = target.limits.max_compute_workgroup_storage_size;
        let rows = match 16 * (rows + 1) * workgroup_size <= most_bytes {
            true => rows,
            false => rows / 2,
        };
        Self {
            outputs: outputs * workgroup_size / lanes,
            rows,
            workgroup_size,
            group: Some(Group { lanes, outputs }),
        }
    }

    /// The values of the constants that the shader takes.
    pub fn constants(&self) -> Vec<(&'static str, u32)> {
        match self.group {
            Some(group) => vec![
                ("WORKGROUP_SIZE", self.workgroup_size),
                ("GROUP_LANES", group.lanes),
                ("OUTPUTS", group.outputs),
                ("ROWS", self.rows),
            ],
            None => Vec::new(),
        }
    }
}

/// Outputs that share each load of x. On an H200 (subgroups of 32) two are best for most shapes, but
/// of q4_0, where a load of weights takes eight of x, four. With subgroups of 64 (AMD) requests to
/// the cache are the limit: four. Few rows of quantised weights want registers for two.
fn group_outputs(target: &Target, dtype: Dtype, rows: u32) -> u32 {
    let is_quantised = matches!(dtype, Dtype::Quantized(_));
    if is_quantised && rows > 1 {
        return 2;
    }
    match target.subgroup[1] >= 64 || dtype == Dtype::Quantized(Quant::Q4_0) {
        true => 4,
        false => 2,
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
