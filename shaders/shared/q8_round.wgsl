// Rounding keys and values to q8_0, with steps that every adapter computes alike: the scale of a
// block is its largest size times 1/127, rounded to f16; a number is the nearest integer to value /
// scale, halves down, from -127 to 127. A block that is nearly zero has scale 0, and zeros.
// Infinite values become the largest numbers; no scale is infinite. Expects `octet`.

const INVERSE_127: f32 = 0.007874016;

// A positive number as f16: to nearest, halves to even, the largest one where it is out of range.
fn f16_bits(value: f32) -> u32 {
    let bits = bitcast<u32>(value);
    if bits < 0x38800000u {
        // Below 2^-14: a multiple of 2^-24.
        return u32(round(value * 16777216.0));
    }
    return min((bits - 0x38000000u + 0xfffu + ((bits >> 13u) & 1u)) >> 13u, 0x7bffu);
}

fn f16_value(bits: u32) -> f32 {
    if bits < 0x400u {
        return f32(bits) * 5.9604644775390625e-8; // 2^-24
    }
    return bitcast<f32>((bits << 13u) + 0x38000000u);
}

fn largest_size(values: Octet) -> f32 {
    let four = max(abs(values.low), abs(values.high));
    return max(max(four.x, four.y), max(four.z, four.w));
}

// The bits of a block's scale, from the largest size of its values.
fn q8_scale_bits(largest: f32) -> u32 {
    return f16_bits(largest * INVERSE_127);
}

// Four numbers as bytes. The quotient may be a little off where an adapter divides coarsely; what
// is left of the value, which is exact, tells.
fn q8_word(values: vec4<f32>, scale: f32) -> u32 {
    if scale == 0.0 {
        return 0u;
    }
    let most = vec4<f32>(127.0);
    let near = clamp(round(values * (1.0 / scale)), -most, most);
    let rest = values - near * scale;
    let up = select(vec4<f32>(), vec4<f32>(1.0), rest > vec4<f32>(0.5 * scale));
    let down = select(vec4<f32>(), vec4<f32>(1.0), rest <= vec4<f32>(-0.5 * scale));
    let numbers = vec4<i32>(clamp(near + up - down, -most, most));
    let bytes = bitcast<vec4<u32>>(numbers) & vec4<u32>(0xffu);
    return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
}
