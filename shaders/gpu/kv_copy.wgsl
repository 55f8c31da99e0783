// Copies a position's keys and values from one cycle to the cycles after it, in a buffer.
// One invocation stands for a pair of words of a head of a listed row, copied as it is.

struct Params {
    kv_places: u32,
    list: u32,
    cycle: u32,
    // Cycles from `cycle + 1` on that get a copy.
    n_copies: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<u32>; // see `shared/rows`
@group(0) @binding(2) var<storage, read_write> kv: array<vec2<u32>>; // see `shared/kv_buffer`

override KV_FORMAT: u32 = 0u; // 0 f32 (four pairs of words an octet), 1 f16 (two), 2 q8_0
override N_KV_HEADS: u32 = 1u;
override HEAD_OCTETS: u32 = 8u;

#import shared/rows
#import shared/kv_buffer
#import shared/kv_q8

// Pairs of words of a head's row.
fn pairs_of_row() -> u32 {
    if KV_FORMAT == 2u {
        return q8_pairs();
    }
    return select(4u, 2u, KV_FORMAT == 1u) * HEAD_OCTETS;
}

fn copy_pair(part: u32, head: u32, place: u32, pair: u32) {
    let value = kv[kv_row(params.cycle, part, head, place) * pairs_of_row() + pair];
    for (var i = 1u; i <= params.n_copies; i++) {
        kv[kv_row(params.cycle + i, part, head, place) * pairs_of_row() + pair] = value;
    }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
) {
    let pair = id.x % pairs_of_row();
    let head = id.x / pairs_of_row() % N_KV_HEADS;
    let part = id.x / pairs_of_row() / N_KV_HEADS;
    if group.y < n_listed(params.list) && part <= VALUE {
        let row = listed(params.list, group.y);
        copy_pair(part, head, cache_start_of(row) + position_of(row), pair);
    }
}
