// Weights [n_out, n_in] in a texture: eight outputs share a row of texels, which holds what they
// have for a first step of inputs side by side, then for a second step, and so on. A step is an
// octet: a texel an output (two with f32, one after the other); or, quantised, a block: a texel
// with the eight outputs' scales, then a texel an output (two with q8_0).

fn octets_a_step() -> u32 {
    return select(1u, BLOCK_OCTETS, is_quantised());
}

fn has_second_texel() -> bool {
    return WEIGHT_FORMAT == 0u || WEIGHT_FORMAT == 3u;
}

fn step_width() -> u32 {
    return select(8u, 16u, has_second_texel()) + u32(is_quantised());
}

// Where an output's texels begin, but for the scales.
fn place_of(output: u32) -> vec2<u32> {
    return vec2<u32>(output % 8u, output / 8u);
}

// An output's texels of a step.
struct Texels {
    first: vec4<u32>,
    second: vec4<u32>,
}

fn weight_texels(place: vec2<u32>, step: u32) -> Texels {
    let at = place + vec2<u32>(step * step_width() + u32(is_quantised()), 0u);
    let first = textureLoad(weights, at);
    if has_second_texel() {
        return Texels(first, textureLoad(weights, at + vec2<u32>(8u, 0u)));
    }
    return Texels(first, first);
}

// Scales of a block's eight outputs, two f16 a word.
fn weight_scales(place: vec2<u32>, step: u32) -> vec4<u32> {
    return textureLoad(weights, vec2<u32>(step * step_width(), place.y));
}

// Octet `i` of a step, without its scale.
fn octet_of(texels: Texels, i: u32) -> Octet {
    if WEIGHT_FORMAT == 1u {
        return unpack_f16(texels.first);
    }
    if WEIGHT_FORMAT == 2u {
        return unpack_bf16(texels.first);
    }
    if WEIGHT_FORMAT == 3u {
        return unpack_quants(select(texels.first, texels.second, i >= 2u), i);
    }
    if WEIGHT_FORMAT == 4u {
        return unpack_quants(texels.first, i);
    }
    return Octet(bitcast<vec4<f32>>(texels.first), bitcast<vec4<f32>>(texels.second));
}

fn weight_octet(output: u32, octet: u32) -> Octet {
    let step = octet / octets_a_step();
    let place = place_of(output);
    let weights = octet_of(weight_texels(place, step), octet % octets_a_step());
    if !is_quantised() {
        return weights;
    }
    let pair = unpack2x16float(weight_scales(place, step)[output % 8u / 2u]);
    return scaled(weights, pair[output % 2u]);
}
