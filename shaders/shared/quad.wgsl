// Four outputs at a time, weights in a texture.

// Eight inputs' weights of four outputs: k0 holds those of the first input.
struct Quad {
    k0: vec4<f32>,
    k1: vec4<f32>,
    k2: vec4<f32>,
    k3: vec4<f32>,
    k4: vec4<f32>,
    k5: vec4<f32>,
    k6: vec4<f32>,
    k7: vec4<f32>,
}

fn weight_quad(output: u32, octet: u32) -> Quad {
    let a = weight_texel(output, octet);
    let b = weight_texel(output + 1u, octet);
    let c = weight_texel(output + 2u, octet);
    let d = weight_texel(output + 3u, octet);
    return Quad(
        vec4<f32>(a.low.x, b.low.x, c.low.x, d.low.x),
        vec4<f32>(a.low.y, b.low.y, c.low.y, d.low.y),
        vec4<f32>(a.low.z, b.low.z, c.low.z, d.low.z),
        vec4<f32>(a.low.w, b.low.w, c.low.w, d.low.w),
        vec4<f32>(a.high.x, b.high.x, c.high.x, d.high.x),
        vec4<f32>(a.high.y, b.high.y, c.high.y, d.high.y),
        vec4<f32>(a.high.z, b.high.z, c.high.z, d.high.z),
        vec4<f32>(a.high.w, b.high.w, c.high.w, d.high.w),
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
    return sums + fma(w.k7, vec4<f32>(high.w), s);
}
