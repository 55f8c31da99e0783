// Copies a position's keys and values from one cycle to the cycles after it, in a buffer.
// One invocation stands for one octet of one listed row, copied as it is.

struct Params {
    kv_places: u32,
    list: u32,
    cycle: u32,
    // Cycles from `cycle + 1` on that get a copy.
    n_copies: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<u32>; // see `shared/rows`
@group(0) @binding(2) var<storage, read_write> kv: array<vec4<u32>>; // see `shared/kv_buffer`

override KV_FORMAT: u32 = 0u; // 0 f32 (two vec4<u32> an octet), 1 f16 (one)
override N_KV_HEADS: u32 = 1u;
override HEAD_OCTETS: u32 = 8u;

#import shared/rows
#import shared/kv_buffer

fn copy_octet(part: u32, head: u32, place: u32, octet: u32) {
    let width = select(2u, 1u, KV_FORMAT == 1u);
    let source = width * kv_index(params.cycle, part, head, place, octet);
    for (var i = 1u; i <= params.n_copies; i++) {
        let to = width * kv_index(params.cycle + i, part, head, place, octet);
        for (var j = 0u; j < width; j++) {
            kv[to + j] = kv[source + j];
        }
    }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
) {
    let octet = id.x % HEAD_OCTETS;
    let head = id.x / HEAD_OCTETS % N_KV_HEADS;
    let part = id.x / HEAD_OCTETS / N_KV_HEADS;
    if group.y < n_listed(params.list) && part <= VALUE {
        let row = listed(params.list, group.y);
        copy_octet(part, head, cache_start_of(row) + position_of(row), octet);
    }
}
