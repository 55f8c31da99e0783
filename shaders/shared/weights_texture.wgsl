// Weights [n_out, n_in] in a texture: eight outputs share a row of texels, which holds their
// weights of a first step of inputs side by side, then of a second step, and so on. A step is an
// octet: a texel an output (two with f32, one after the other); or, quantised, a block: a texel
// with the eight outputs' scales, then a texel an output (two with q8_0).
// Expects `weights: texture_storage_2d<rgba32uint, read>` and `octet`.

fn octets_a_step() -> u32 {
    return select(1u, BLOCK_OCTETS, is_quantised());
}

// A step is read in parts of whole octets, in the order of memory, so that the processor can
// prefetch the next one. Only q8_0 has two, of a texel an output.
fn parts_a_step() -> u32 {
    return select(1u, 2u, WEIGHT_FORMAT == 3u);
}

fn octets_a_part() -> u32 {
    return octets_a_step() / parts_a_step();
}

fn step_width() -> u32 {
    return select(8u, 16u, WEIGHT_FORMAT == 0u || WEIGHT_FORMAT == 3u) + u32(is_quantised());
}

// Where an output's texels begin, but for the scales.
fn place_of(output: u32) -> vec2<u32> {
    return vec2<u32>(output % 8u, output / 8u);
}

// An output's texels of a part; only f32 has a second one.
struct Texels {
    first: vec4<u32>,
    second: vec4<u32>,
}

fn weight_texels(place: vec2<u32>, step: u32, part: u32) -> Texels {
    let at = place + vec2<u32>(step * step_width() + u32(is_quantised()) + 8u * part, 0u);
    let first = textureLoad(weights, at);
    if WEIGHT_FORMAT == 0u {
        return Texels(first, textureLoad(weights, at + vec2<u32>(8u, 0u)));
    }
    return Texels(first, first);
}

// Scales of a block's eight outputs, two f16 a word.
fn weight_scales(place: vec2<u32>, step: u32) -> vec4<u32> {
    return textureLoad(weights, vec2<u32>(step * step_width(), place.y));
}

// Octet `i` of a part, without its scale.
fn octet_of(texels: Texels, i: u32) -> Octet {
    if WEIGHT_FORMAT == 1u {
        return unpack_f16(texels.first);
    }
    if WEIGHT_FORMAT == 2u {
        return unpack_bf16(texels.first);
    }
    if is_quantised() {
        return unpack_quants(texels.first, i);
    }
    return Octet(bitcast<vec4<f32>>(texels.first), bitcast<vec4<f32>>(texels.second));
}

fn weight_octet(output: u32, octet: u32) -> Octet {
    let step = octet / octets_a_step();
    let place = place_of(output);
    let part = octet % octets_a_step() / octets_a_part();
    let weights = octet_of(weight_texels(place, step, part), octet % octets_a_part());
    if !is_quantised() {
        return weights;
    }
    let pair = unpack2x16float(weight_scales(place, step)[output % 8u / 2u]);
    return scaled(weights, pair[output % 2u]);
}
