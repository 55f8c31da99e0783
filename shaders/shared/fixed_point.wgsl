// Probabilities in whole numbers, which every device and the host compute alike.
// The host's side is `src/engine/draw_rule.rs`.

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

fn pcg(v: u32) -> u32 {
    let state = v * 747796405u + 2891336453u;
    let word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
    return (word >> 22u) ^ word;
}
