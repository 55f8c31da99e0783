// Four outputs at a time, weights in a texture. Expects `weights_texture`, `lanes` and
// `params.n_out`.

// The first of an invocation's eight outputs, or, where it has none, of the last ones: its lane
// works for the others.
fn present_output(n: u32) -> u32 {
    return min(n, (params.n_out - 1u) / 8u * 8u);
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
    if is_quantised() {
        return fma(w.scales, s, sums);
    }
    return sums + s;
}

// The octet of x that a lane loaded.
fn octet_from_lane(own: Octet, lane: u32) -> Octet {
    return Octet(from_lane(own.low, lane), from_lane(own.high, lane));
}
