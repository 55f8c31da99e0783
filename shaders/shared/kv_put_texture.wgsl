// Writing queries and a KV cache in textures. Expects `q: texture_storage_2d<rgba32float, write>`,
// `kv: texture_storage_2d_array<rgba32uint, write>` and `kv_cache`.

fn kv_put(
    cycle: u32,
    part: u32,
    head: u32,
    place: u32,
    octet: u32,
    low: vec4<f32>,
    high: vec4<f32>,
) {
    let at = kv_texel(head, place, octet);
    let layer = 2u * cycle + part;
    if KV_FORMAT == 1u {
        textureStore(kv, at, layer, kv_pack_f16(low, high));
    } else {
        let first = vec2<u32>(2u * at.x, at.y);
        textureStore(kv, first, layer, bitcast<vec4<u32>>(low));
        textureStore(kv, first + vec2<u32>(1u, 0u), layer, bitcast<vec4<u32>>(high));
    }
}

fn q_put(row: u32, head: u32, octet: u32, low: vec4<f32>, high: vec4<f32>) {
    let at = vec2<u32>(2u * (head * params.head_octets + octet), row);
    textureStore(q, at, low);
    textureStore(q, at + vec2<u32>(1u, 0u), high);
}
