// Copies a position's keys and values from one cycle to the cycles after it.
// One invocation stands for one word of one listed row: a word is copied as it is, whether it
// holds one f32 or two f16.

struct Params {
    n_kv_heads: u32,
    n_ctx: u32,
    head_stride: u32,
    list: u32,
    cycle: u32,
    // Cycles from `cycle + 1` on that get a copy.
    n_copies: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<u32>;
@group(0) @binding(2) var<storage, read_write> kv: array<u32>;

#import shared/rows
#import shared/kv_cache

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
) {
    let per_word = select(1u, 2u, KV_FORMAT == 1u);
    let words = params.head_stride / per_word;
    let part = id.x / (words * params.n_kv_heads);
    if group.y >= n_listed(params.list) || part > VALUE {
        return;
    }
    let head = id.x / words % params.n_kv_heads;
    let word = id.x % words;
    let position = position_of(listed(params.list, group.y));
    let value = kv[kv_row(params.cycle, part, head, position) / per_word + word];
    for (var i = 1u; i <= params.n_copies; i++) {
        kv[kv_row(params.cycle + i, part, head, position) / per_word + word] = value;
    }
}
