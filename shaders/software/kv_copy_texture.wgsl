// Copies a position's keys and values from one cycle to the cycles after it, in textures.
// One invocation stands for one octet of one listed row, copied as it is.

struct Params {
    n_kv_heads: u32,
    kv_places: u32,
    head_octets: u32,
    list: u32,
    cycle: u32,
    // Cycles from `cycle + 1` on that get a copy.
    n_copies: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<u32>; // see `shared/rows`
// The layers of cycle `cycle` alone
@group(0) @binding(2) var kv_from: texture_storage_2d_array<rgba32uint, read>;
// Those of the cycles after it
@group(0) @binding(3) var kv_to: texture_storage_2d_array<rgba32uint, write>;

override KV_FORMAT: u32 = 0u; // 0 f32 (two vec4<u32> an octet), 1 f16 (one)

#import shared/rows
#import shared/kv_cache
#import shared/kv_copy

fn copy_octet(part: u32, head: u32, place: u32, octet: u32) {
    let width = octet_width();
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
    copy_listed(group.y, id.x);
}
