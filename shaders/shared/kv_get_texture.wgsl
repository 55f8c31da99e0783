// Reading the KV cache in textures. Expects `kv: texture_storage_2d_array<rgba32uint, read>`,
// `KV_FORMAT`, `HEAD_OCTETS`, `octet`, `kv_texture`, `kv_q8` and `q8_get`.

fn kv_get(cycle: u32, part: u32, head: u32, place: u32, octet: u32) -> Octet {
    let layer = 2u * cycle + part;
    if KV_FORMAT == 1u {
        return unpack_f16(textureLoad(kv, kv_texel(head, place, HEAD_OCTETS, octet), layer));
    }
    if KV_FORMAT == 2u {
        let own = textureLoad(kv, kv_texel(head, place, q8_texels(), octet / 2u), layer);
        let at = q8_scale_pair(octet);
        let scales = textureLoad(kv, kv_texel(head, place, q8_texels(), at / 2u), layer);
        return q8_octet(pair_of_two(own, octet), q8_scale(pair_of_two(scales, at), octet));
    }
    let first = kv_texel(head, place, 2u * HEAD_OCTETS, 2u * octet);
    return Octet(
        bitcast<vec4<f32>>(textureLoad(kv, first, layer)),
        bitcast<vec4<f32>>(textureLoad(kv, first + vec2<u32>(1u, 0u), layer)),
    );
}
