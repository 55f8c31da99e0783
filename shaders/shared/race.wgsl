// Weights and random times of a draw, in whole numbers, so that host and device agree to the bit.
// `src/engine/sampling/draw_rule.rs` is the host's side.

const ONE: u32 = 8388608u; // the weight of the likeliest token, 2^23

// The upper half of the product.
fn mul_high(a: u32, b: u32) -> u32 {
    let a_low = a & 0xffffu;
    let b_low = b & 0xffffu;
    let a_high = a >> 16u;
    let b_high = b >> 16u;
    let low = a_high * b_low + ((a_low * b_low) >> 16u);
    let middle = a_low * b_high + (low & 0xffffu);
    return a_high * b_high + (low >> 16u) + (middle >> 16u);
}

// A distance of logits in units of 2^-24 of a power of two.
fn scaled(distance: f32, scale: f32) -> u32 {
    return u32(min(distance * scale, 1073741824.0));
}

// ONE * 2^-x to the nearest, x in units of 2^-24. The fraction of x goes through the series
// of 1 - 2^-f, whose coefficients are ln(2)^k / k! in units of 2^-32.
fn weight(x: u32) -> u32 {
    let f = x << 8u;
    var series = 0x1eu;
    series = 0x1b5u - mul_high(f, series);
    series = 0x162cu - mul_high(f, series);
    series = 0xffe6u - mul_high(f, series);
    series = 0xa1849u - mul_high(f, series);
    series = 0x576200u - mul_high(f, series);
    series = 0x276556eu - mul_high(f, series);
    series = 0xe35846cu - mul_high(f, series);
    series = 0x3d7f7bffu - mul_high(f, series);
    series = 0xb17217f8u - mul_high(f, series);
    let mantissa = ONE - ((mul_high(f, series) + 256u) >> 9u);
    let n = min(x >> 24u, 31u);
    return (mantissa + ((1u << n) >> 1u)) >> n;
}

// log2(n) in units of 2^-26, of n above 0. With f the fraction of n as a number between 1 and 2,
// log2(1 + f) = f + f (1 - f) r(f), r a polynomial with coefficients in units of 2^-32.
fn log2_of(n: u32) -> u32 {
    let shift = countLeadingZeros(n);
    let f = (n << shift) << 1u;
    var series = 0xe652abu;
    series = 0x50dd938u - mul_high(f, series);
    series = 0xd5318c3u - mul_high(f, series);
    series = 0x17106600u - mul_high(f, series);
    series = 0x1fc55d38u - mul_high(f, series);
    series = 0x2849d7f3u - mul_high(f, series);
    series = 0x33c02a04u - mul_high(f, series);
    series = 0x47558c68u - mul_high(f, series);
    series = 0x715475fdu - mul_high(f, series);
    let log = f + mul_high(mul_high(f, ~f), series);
    return ((31u - shift) << 26u) + (log >> 6u);
}

// log2(-log2(u)) in units of 2^-24, u = (bits | 1) / 2^32. The logarithm of an exponentially
// distributed time: of racers that start at distances x, each is first with probability 2^-x.
fn time(bits: u32) -> i32 {
    let n = bits | 1u;
    let v = 0u - n; // (1 - u) 2^32
    if v < 0x10000000u {
        // -log2(1 - v) = v / ln(2) (1 + v/2 + v^2/3 ...), of which this is the series of log2.
        var series = 0x185d9279u;
        series = 0x2030293fu + mul_high(v, series);
        series = 0x2e2a8ecau + mul_high(v, series);
        series = 0x4cf198a7u + mul_high(v, series);
        series = 0xb8aa3b29u + mul_high(v, series);
        let ratio = 0x875d3ba7u + mul_high(v, series);
        return i32((log2_of(v) >> 2u) + (ratio >> 8u)) - 536870912;
    }
    let y = 0x80000000u - log2_of(n);
    return i32(log2_of(y) >> 2u) - 436207616;
}

// A hash of three numbers: pcg3d by Jarzynski and Olano, "Hash Functions for GPU Rendering",
// JCGT 9(3), 2020.
fn random(of_what: vec3<u32>) -> u32 {
    var v = of_what * 1664525u + 1013904223u;
    v.x += v.y * v.z;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    v ^= v >> vec3<u32>(16u);
    v.x += v.y * v.z;
    return v.x;
}
