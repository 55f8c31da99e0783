// Copies a position's keys and values from one cycle to the cycles after it.
// One invocation stands for one octet of one listed row, copied as it is.

struct Params {
    n_kv_heads: u32,
    kv_positions: u32,
    head_octets: u32,
    list: u32,
    cycle: u32,
    // Cycles from `cycle + 1` on that get a copy.
    n_copies: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<u32>;
@group(0) @binding(2) var<storage, read_write> kv: array<vec4<u32>>;

#import shared/rows
#import shared/kv_cache

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
) {
    let octet = id.x % params.head_octets;
    let head = id.x / params.head_octets % params.n_kv_heads;
    let part = id.x / params.head_octets / params.n_kv_heads;
    if group.y >= n_listed(params.list) || part > VALUE {
        return;
    }
    let position = position_of(listed(params.list, group.y));
    let width = select(2u, 1u, KV_FORMAT == 1u);
    let source = width * kv_index(params.cycle, part, head, position, octet);
    for (var i = 1u; i <= params.n_copies; i++) {
        let to = width * kv_index(params.cycle + i, part, head, position, octet);
        for (var j = 0u; j < width; j++) {
            kv[to + j] = kv[source + j];
        }
    }
}
