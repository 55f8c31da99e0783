// The KV cache of a parameter layer in an array of textures: each [cycle][key, value] is a layer,
// and a row of its texels holds a head's rows of 2^kv_places_log2 places, side by side as they are
// read: octets of f32 or f16, or as `kv_q8` says. Each position of each sequence has a place, and a
// sequence's places follow each other. Expects `N_KV_HEADS` and `params.kv_places_log2`.

const KEY: u32 = 0u;
const VALUE: u32 = 1u;

// Where texel `i` of a head's row of `width` texels lies in its layer. Places are a power of two
// because some drivers divide slowly.
fn kv_texel(head: u32, place: u32, width: u32, i: u32) -> vec2<u32> {
    let column = place & ((1u << params.kv_places_log2) - 1u);
    let row = (place >> params.kv_places_log2) * N_KV_HEADS + head;
    return vec2<u32>(column * width + i, row);
}
