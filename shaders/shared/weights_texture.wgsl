// Weights [n_out, n_in] in a texture: eight outputs share a row of texels, which holds their
// weights of a first step of inputs side by side, then of a second step, and so on. A step is an
// octet: a texel an output (two with f32, one after the other); or, quantised, a block: a texel
// with the eight outputs' scales, then a texel an output (two with q8_0).
// Expects `weights: texture_storage_2d<rgba32uint, read>`,
// `octet` and `weight_format`.

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

// Texels of four outputs for a part of a step, and the outputs' scales.
struct QuadTexels {
    a: Texels,
    b: Texels,
    c: Texels,
    d: Texels,
    scales: vec4<f32>,
}

// Texels of four outputs, the first of which lies at `place` and is the first or fifth of eight.
fn quad_texels(place: vec2<u32>, step: u32, part: u32) -> QuadTexels {
    var scales = vec4<f32>(1.0);
    if is_quantised() {
        let all = weight_scales(place, step);
        let words = select(all.xy, all.zw, place.x % 8u == 4u);
        scales = vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
    }
    return QuadTexels(
        weight_texels(place, step, part),
        weight_texels(place + vec2<u32>(1u, 0u), step, part),
        weight_texels(place + vec2<u32>(2u, 0u), step, part),
        weight_texels(place + vec2<u32>(3u, 0u), step, part),
        scales,
    );
}

// Eight inputs' weights of four outputs: k0 holds those of the first input. They are yet to be
// multiplied by the outputs' scales.
struct Quad {
    k0: vec4<f32>,
    k1: vec4<f32>,
    k2: vec4<f32>,
    k3: vec4<f32>,
    k4: vec4<f32>,
    k5: vec4<f32>,
    k6: vec4<f32>,
    k7: vec4<f32>,
    scales: vec4<f32>,
}

// Octet `i` of a part.
fn quad_of(texels: QuadTexels, i: u32) -> Quad {
    let a = octet_of(texels.a, i);
    let b = octet_of(texels.b, i);
    let c = octet_of(texels.c, i);
    let d = octet_of(texels.d, i);
    return Quad(
        vec4<f32>(a.low.x, b.low.x, c.low.x, d.low.x),
        vec4<f32>(a.low.y, b.low.y, c.low.y, d.low.y),
        vec4<f32>(a.low.z, b.low.z, c.low.z, d.low.z),
        vec4<f32>(a.low.w, b.low.w, c.low.w, d.low.w),
        vec4<f32>(a.high.x, b.high.x, c.high.x, d.high.x),
        vec4<f32>(a.high.y, b.high.y, c.high.y, d.high.y),
        vec4<f32>(a.high.z, b.high.z, c.high.z, d.high.z),
        vec4<f32>(a.high.w, b.high.w, c.high.w, d.high.w),
        texels.scales,
    );
}

// Adds eight inputs to the sums of four outputs. They are summed by themselves first: rounding
// errors grow with the length of a chain of additions, and this one is an eighth as long.
fn quad_step(sums: vec4<f32>, w: Quad, low: vec4<f32>, high: vec4<f32>) -> vec4<f32> {
    var s = w.k0 * low.x;
    s = fma(w.k1, vec4<f32>(low.y), s);
    s = fma(w.k2, vec4<f32>(low.z), s);
    s = fma(w.k3, vec4<f32>(low.w), s);
    s = fma(w.k4, vec4<f32>(high.x), s);
    s = fma(w.k5, vec4<f32>(high.y), s);
    s = fma(w.k6, vec4<f32>(high.z), s);
    s = fma(w.k7, vec4<f32>(high.w), s);
    return with_octet(sums, w, s);
}

// An octet's sums, added to those before it.
fn with_octet(sums: vec4<f32>, w: Quad, s: vec4<f32>) -> vec4<f32> {
    if is_quantised() {
        return fma(w.scales, s, sums);
    }
    return sums + s;
}
