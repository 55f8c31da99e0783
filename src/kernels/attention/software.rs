//! Attention in textures: shaders `attention_texture` for a row alone, `scores_texture` and
//! `values_texture` for many rows.

use wgpu::Features;

use super::{FIELDS, Operands, Params, cost};
use crate::gpu::{Access, Call, Cost, Kernel, Resource};
use crate::kernels::{BatchKind, KvType, TEXTURE_LANES, bound, kernel, read, read_write};

/// Attention of a row that is alone, with everything in textures.
pub static TEXTURE: Kernel = kernel!(
    "software",
    "attention_texture",
    FIELDS,
    Features::SUBGROUP,
    &[
        bound("q", Access::FloatTexture),
        bound("kv", Access::TextureArray),
        bound("pool", Access::FloatTexture),
        read("rows"),
        read_write("out"),
        read_write("zeros"),
    ]
);

/// The scores of all keys: the first half of attention of many rows.
pub static SCORES: Kernel = kernel!(
    "software",
    "scores_texture",
    FIELDS,
    Features::empty(),
    &[
        bound("q", Access::FloatTexture),
        bound("kv", Access::TextureArray),
        read("rows"),
        bound("scores", Access::WriteTexture),
    ]
);

/// The softmax of the scores, applied to the values: the second half of attention of many rows.
pub static VALUES: Kernel = kernel!(
    "software",
    "values_texture",
    FIELDS,
    Features::empty(),
    &[
        bound("q", Access::FloatTexture),
        bound("kv", Access::TextureArray),
        bound("pool", Access::FloatTexture),
        read("rows"),
        bound("scores", Access::FloatTexture),
        read_write("out"),
        read_write("zeros"),
    ]
);

/// Attention of a row that is alone in its batch; `lanes`: see [`Target::lanes`].
///
/// [`Target::lanes`]: crate::gpu::Target::lanes
pub(super) fn of_one_row<'a>(
    kv_type: KvType,
    lanes: u32,
    params: Params,
    o: Operands<'a>,
) -> Call<'a> {
    Call {
        kernel: &TEXTURE,
        constants: vec![kv_type.constant(), ("LANES", lanes)],
        params: bytemuck::bytes_of(&params).to_vec(),
        resources: vec![
            o.q,
            o.kv,
            o.pool,
            Resource::Buffer(o.rows),
            Resource::Buffer(o.out),
            Resource::Buffer(o.zeros),
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

/// Attention of many rows: scores, then values. A sequence has room for `n_ctx`
/// positions.
pub(super) fn of_many_rows<'a>(
    kv_type: KvType,
    n_ctx: u32,
    kind: BatchKind,
    params: Params,
    o: Operands<'a>,
) -> [Call<'a>; 2] {
    let key_groups = n_ctx.div_ceil(8 * TEXTURE_LANES).min(MAX_KEY_GROUPS);
    let rows_per_tile = match kind {
        BatchKind::SeveralSequences => 1,
        _ => QUARTET_ROWS,
    };
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
        resources: vec![o.q, o.kv, Resource::Buffer(o.rows), o.scratch],
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
            o.q,
            o.kv,
            o.pool,
            Resource::Buffer(o.rows),
            o.scratch,
            Resource::Buffer(o.out),
            Resource::Buffer(o.zeros),
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
