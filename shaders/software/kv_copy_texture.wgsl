// Copies a position's keys and values from one cycle to the cycles after it, in textures.
// One invocation stands for a texel of a head of a listed row, copied as it is.

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

override KV_FORMAT: u32 = 0u; // 0 f32 (two vec4<u32> an octet), 1 f16 (one), 2 q8_0
override N_KV_HEADS: u32 = 1u;
override HEAD_OCTETS: u32 = 8u;

#import shared/rows
#import shared/kv_texture
#import shared/kv_q8

// Texels of a head's row.
fn texels_of_row() -> u32 {
    if KV_FORMAT == 2u {
        return q8_texels();
    }
    return select(2u, 1u, KV_FORMAT == 1u) * HEAD_OCTETS;
}

fn copy_texel(part: u32, head: u32, place: u32, i: u32) {
    let at = kv_texel(head, place, texels_of_row(), i);
    let value = textureLoad(kv_from, at, part);
    for (var copy = 0u; copy < params.n_copies; copy++) {
        textureStore(kv_to, at, 2u * copy + part, value);
    }
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
) {
    let texel = id.x % texels_of_row();
    let head = id.x / texels_of_row() % N_KV_HEADS;
    let part = id.x / texels_of_row() / N_KV_HEADS;
    if group.y < n_listed(params.list) && part <= VALUE {
        let row = listed(params.list, group.y);
        copy_texel(part, head, cache_start_of(row) + position_of(row), texel);
    }
}
