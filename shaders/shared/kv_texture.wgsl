// The KV cache of a parameter layer in an array of textures: each [cycle][key, value] is a layer,
// and a row of its texels holds a head's octets of 2^kv_places_log2 places, side by side as they
// are read. Each position of each sequence has a place, and a sequence's places follow each other.
// Expects `N_KV_HEADS`, `HEAD_OCTETS` and `params.kv_places_log2`.

const KEY: u32 = 0u;
const VALUE: u32 = 1u;

// Where an octet lies in its layer, counted in octets along a row. Places are a power of two
// because some drivers divide slowly.
fn kv_texel(head: u32, place: u32, octet: u32) -> vec2<u32> {
    let column = place & ((1u << params.kv_places_log2) - 1u);
    let row = (place >> params.kv_places_log2) * N_KV_HEADS + head;
    return vec2<u32>(column * HEAD_OCTETS + octet, row);
}
