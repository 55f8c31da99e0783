//! Attention in buffers: shaders `attention`, `attention_subgroup` and `merge`.

use super::shaders::{MERGE, MergeParams};
use super::tile::Tile;
use super::{Attention, Operands, cost};
use crate::gpu::{Call, Cost, Resource};
use crate::kernels::WORKGROUP_SIZE;
use crate::kernels::kv_format;

/// Attention in buffers, and the merge of its splits where there are any; each with its role.
pub(super) fn calls<'a>(
    tile: Tile,
    a: Attention,
    o: Operands<'a>,
) -> Vec<(Call<'a>, &'static str)> {
    let [rows, out, zeros] = [o.rows, o.out, o.zeros].map(Resource::Buffer);
    let params = a.params();
    let mut constants = vec![kv_format(a.kv_type), a.cap_constant()];
    constants.extend(tile.constants());
    constants.extend(a.heads.constants());
    constants.extend(a.zero_constants());
    let attention = Call {
        kernel: tile.kernel(),
        constants,
        params: params.bytes(),
        resources: vec![o.q, o.kv, o.pool, rows, out, zeros, o.scratch],
        x: tile.n_tiles(a.heads) * tile.n_splits,
        rows_per_group: tile.rows,
        cost: cost(&a),
    };
    if tile.n_splits == 1 {
        return vec![(attention, "attention")];
    }
    let params = MergeParams {
        head_dim: params.head_dim,
        list: params.list,
        window: params.window,
        middle_layer: params.middle_layer,
        n_middle_layers: params.n_middle_layers,
    };
    let mut constants = vec![
        ("N_HEADS", a.heads.n_heads),
        ("HEAD_OCTETS", a.heads.octets),
    ];
    constants.extend(tile.split_constants());
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
