// Writing queries to `q: texture_storage_2d<rgba32float, write>`, [row][head, 2 HEAD_OCTETS], and
// keys and values, in f32 or f16, to `kv: texture_storage_2d_array<rgba32uint, write>`. Expects
// both, `KV_FORMAT`, `HEAD_OCTETS`, `octet` and `kv_texture`.

fn q_put(row: u32, head: u32, octet: u32, values: Octet) {
    let at = vec2<u32>(2u * (head * HEAD_OCTETS + octet), row);
    textureStore(q, at, values.low);
    textureStore(q, at + vec2<u32>(1u, 0u), values.high);
}

fn kv_put(cycle: u32, part: u32, head: u32, place: u32, octet: u32, values: Octet) {
    let layer = 2u * cycle + part;
    if KV_FORMAT == 1u {
        textureStore(kv, kv_texel(head, place, HEAD_OCTETS, octet), layer, pack_f16(values));
    } else {
        let first = kv_texel(head, place, 2u * HEAD_OCTETS, 2u * octet);
        textureStore(kv, first, layer, bitcast<vec4<u32>>(values.low));
        textureStore(kv, first + vec2<u32>(1u, 0u), layer, bitcast<vec4<u32>>(values.high));
    }
}
