// Weights [n_out, n_in] in a texture: eight outputs share a row of texels, which holds their first
// octets side by side, then their second ones, and so on. An octet is a texel (two with f32).

fn weight_texel(output: u32, octet: u32) -> Octet {
    let x = 8u * octet + output % 8u;
    let y = output / 8u;
    if WEIGHT_FORMAT == 1u {
        return unpack_f16(textureLoad(weights, vec2<u32>(x, y), 0));
    }
    if WEIGHT_FORMAT == 2u {
        return unpack_bf16(textureLoad(weights, vec2<u32>(x, y), 0));
    }
    let first = x + 8u * octet;
    return Octet(
        bitcast<vec4<f32>>(textureLoad(weights, vec2<u32>(first, y), 0)),
        bitcast<vec4<f32>>(textureLoad(weights, vec2<u32>(first + 8u, y), 0)),
    );
}
