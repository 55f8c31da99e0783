// Reading the KV cache in textures. Expects `kv: texture_storage_2d_array<rgba32uint, read>`,
// `KV_FORMAT`, `octet` and `kv_texture`.

fn kv_get(cycle: u32, part: u32, head: u32, place: u32, octet: u32) -> Octet {
    let at = kv_texel(head, place, octet);
    let layer = 2u * cycle + part;
    if KV_FORMAT == 1u {
        return unpack_f16(textureLoad(kv, at, layer));
    }
    let first = vec2<u32>(2u * at.x, at.y);
    return Octet(
        bitcast<vec4<f32>>(textureLoad(kv, first, layer)),
        bitcast<vec4<f32>>(textureLoad(kv, first + vec2<u32>(1u, 0u), layer)),
    );
}
