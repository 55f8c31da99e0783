// Copies a position's keys and values from one cycle to the cycles after it, in textures.
// One invocation stands for one octet of one listed row, copied as it is.

struct Params {
    // log2 of the places in a row of texels.
    kv_places_log2: u32,
    list: u32,
    // Cycles that get a copy: all of `kv_to`.
    n_copies: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<u32>; // see `shared/rows`
// The layers of the cycle that is copied, as in `shared/kv_texture`.
@group(0) @binding(2) var kv_from: texture_storage_2d_array<rgba32uint, read>;
// The layers of the cycles after it.
@group(0) @binding(3) var kv_to: texture_storage_2d_array<rgba32uint, write>;

override KV_FORMAT: u32 = 0u; // 0 f32 (two vec4<u32> an octet), 1 f16 (one)
override N_KV_HEADS: u32 = 1u;
override HEAD_OCTETS: u32 = 8u;

#import shared/rows
#import shared/kv_texture

fn copy_octet(part: u32, head: u32, place: u32, octet: u32) {
    let width = select(2u, 1u, KV_FORMAT == 1u);
    let texel = kv_texel(head, place, octet);
    for (var j = 0u; j < width; j++) {
        let at = vec2<u32>(width * texel.x + j, texel.y);
        let value = textureLoad(kv_from, at, part);
        for (var i = 0u; i < params.n_copies; i++) {
            textureStore(kv_to, at, 2u * i + part, value);
        }
    }
}

@compute @workgroup_size(8)
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
