// Weights [n_out, n_in] in a texture: a row of texels for each output, an octet in a texel (two
// with f32).

fn weight_texel(output: u32, octet: u32) -> Octet {
    if WEIGHT_FORMAT == 1u {
        return unpack_f16(textureLoad(weights, vec2<u32>(octet, output), 0));
    }
    if WEIGHT_FORMAT == 2u {
        return unpack_bf16(textureLoad(weights, vec2<u32>(octet, output), 0));
    }
    return Octet(
        bitcast<vec4<f32>>(textureLoad(weights, vec2<u32>(2u * octet, output), 0)),
        bitcast<vec4<f32>>(textureLoad(weights, vec2<u32>(2u * octet + 1u, output), 0)),
    );
}
