// Copies a position's keys and values from one cycle to the cycles after it.
// One invocation stands for one octet of one listed row, copied as it is.
// `kv_from` shows the layers of that cycle alone, `kv_to` those of the cycles after it.

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
@group(0) @binding(2) var kv_from: texture_2d_array<u32>;
@group(0) @binding(3) var kv_to: texture_storage_2d_array<rgba32uint, write>;

#import shared/rows
#import shared/kv_cache

@compute @workgroup_size(8)
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
    let texel = kv_texel(head, position, octet);
    for (var j = 0u; j < width; j++) {
        let at = vec2<u32>(width * texel.x + j, texel.y);
        let value = textureLoad(kv_from, at, part, 0);
        for (var i = 0u; i < params.n_copies; i++) {
            textureStore(kv_to, at, 2u * i + part, value);
        }
    }
}
