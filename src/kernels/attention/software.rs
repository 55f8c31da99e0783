//! Attention in textures: shaders `attention_texture` for few rows, `scores_texture` and
//! `values_texture` for many rows.

use wgpu::Features;

use super::{Attention, Operands, TEXTURE_FIELDS, cost};
use crate::gpu::{Access, Call, Cost, Kernel, Resource};
use crate::kernels::kv_format;
use crate::kernels::{BatchKind, TEXTURE_WORKGROUP_SIZE, bound, kernel, params, read, read_write};

params! {
    ScoresParams {
        kv_places_log2: u32,
        cycle: u32,
        list: u32,
        scale: f32,
        soft_cap: f32,
        window: u32,
    }
}

/// Attention of rows one by one, with everything in textures.
pub static TEXTURE: Kernel = kernel!(
    "software",
    "attention_texture",
    TEXTURE_FIELDS,
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
    ScoresParams::FIELDS,
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
    TEXTURE_FIELDS,
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

/// Attention of rows one by one; `lanes`: see [`Target::lanes`].
///
/// [`Target::lanes`]: crate::gpu::Target::lanes
pub(super) fn of_few_rows<'a>(lanes: u32, a: Attention, o: Operands<'a>) -> Call<'a> {
    let mut constants = vec![
        ("SUBGROUP_LANES", lanes),
        kv_format(a.kv_type),
        a.cap_constant(),
    ];
    constants.extend(a.heads.constants());
    constants.extend(a.zero_constants());
    Call {
        kernel: &TEXTURE,
        constants,
        params: a.params().bytes(),
        resources: vec![
            o.q,
            o.kv,
            o.pool,
            Resource::Buffer(o.rows),
            Resource::Buffer(o.out),
            Resource::Buffer(o.zeros),
        ],
        x: a.heads.n_heads * a.heads.octets.div_ceil(TEXTURE_WORKGROUP_SIZE),
        rows_per_group: 1,
        cost: cost(&a),
    }
}

/// Rows of a quartet of query vectors; see `shaders/shared/quartet.wgsl`.
const QUARTET_ROWS: u32 = 4;

/// Workgroups that share the keys of a quartet, at most.
const MAX_KEY_GROUPS: u32 = 4;

/// Attention of many rows: scores, then values.
pub(super) fn of_many_rows<'a>(kind: BatchKind, a: Attention, o: Operands<'a>) -> [Call<'a>; 2] {
    let key_groups = a.n_ctx.div_ceil(8 * TEXTURE_WORKGROUP_SIZE);
    let key_groups = key_groups.min(MAX_KEY_GROUPS);
    let rows_per_tile = match kind {
        BatchKind::SeveralSequences => 1,
        _ => QUARTET_ROWS,
    };
    let whole = cost(&a);
    let halved = Cost {
        read_per_key: whole.read_per_key / 2,
        flops_per_pair: whole.flops_per_pair / 2,
        window: whole.window,
        ..Cost::default()
    };
    let mut constants = vec![
        kv_format(a.kv_type),
        a.cap_constant(),
        ("ROWS_PER_TILE", rows_per_tile),
    ];
    constants.extend(a.heads.constants());
    let params = a.params();
    let scores_params = ScoresParams {
        kv_places_log2: params.kv_places,
        cycle: params.cycle,
        list: params.list,
        scale: params.scale,
        soft_cap: params.soft_cap,
        window: params.window,
    };
    let scores = Call {
        kernel: &SCORES,
        constants: [constants.clone(), vec![("KEY_GROUPS", key_groups)]].concat(),
        params: scores_params.bytes(),
        resources: vec![o.q, o.kv, Resource::Buffer(o.rows), o.scratch],
        x: a.heads.n_heads * key_groups,
        rows_per_group: rows_per_tile,
        cost: Cost {
            read_per_row: whole.read_per_row,
            ..halved
        },
    };
    constants.extend(a.zero_constants());
    let values = Call {
        kernel: &VALUES,
        constants,
        params: params.bytes(),
        resources: vec![
            o.q,
            o.kv,
            o.pool,
            Resource::Buffer(o.rows),
            o.scratch,
            Resource::Buffer(o.out),
            Resource::Buffer(o.zeros),
        ],
        x: a.heads.n_heads * a.heads.octets.div_ceil(TEXTURE_WORKGROUP_SIZE),
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
