// The key-value cache of a parameter layer: octets of a head's values, in a buffer or a texture.
// Expects `KV_FORMAT`, and `n_kv_heads`, `head_octets` and `kv_places` in `params`.
//
// Each position of each sequence has a place; a sequence's places follow each other. In a buffer
// the order is [cycle][key, value][kv head][place][octet], with `kv_places` places. In a texture
// each [cycle][key, value] is a layer; a row of texels holds a head of 2 to the power of
// `kv_places` places, side by side as they are read; some drivers divide slowly.

const KEY: u32 = 0u;
const VALUE: u32 = 1u;

struct KvOctet {
    low: vec4<f32>,
    high: vec4<f32>,
}

// Where an octet lies in a buffer, counted in octets.
fn kv_index(cycle: u32, part: u32, head: u32, place: u32, octet: u32) -> u32 {
    let head_index = (cycle * 2u + part) * params.n_kv_heads + head;
    return (head_index * params.kv_places + place) * params.head_octets + octet;
}

// Where an octet lies in its layer of a texture, counted in octets along a row.
fn kv_texel(head: u32, place: u32, octet: u32) -> vec2<u32> {
    let column = place & ((1u << params.kv_places) - 1u);
    let row = (place >> params.kv_places) * params.n_kv_heads + head;
    return vec2<u32>(column * params.head_octets + octet, row);
}

fn kv_pack_f16(low: vec4<f32>, high: vec4<f32>) -> vec4<u32> {
    let most = vec4<f32>(65504.0);
    let a = clamp(low, -most, most);
    let b = clamp(high, -most, most);
    return vec4<u32>(
        pack2x16float(a.xy),
        pack2x16float(a.zw),
        pack2x16float(b.xy),
        pack2x16float(b.zw),
    );
}

fn kv_unpack_f16(v: vec4<u32>) -> KvOctet {
    return KvOctet(
        vec4<f32>(unpack2x16float(v.x), unpack2x16float(v.y)),
        vec4<f32>(unpack2x16float(v.z), unpack2x16float(v.w)),
    );
}
