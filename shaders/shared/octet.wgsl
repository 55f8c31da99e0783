// Eight weights at a time: rows are padded with zeros to whole octets. Every format widens to f32
// exactly.

override WEIGHT_FORMAT: u32 = 0u; // 0 f32, 1 f16, 2 bf16, 3 q8_0, 4 q4_0

struct Octet {
    low: vec4<f32>,
    high: vec4<f32>,
}

fn unpack_f16(v: vec4<u32>) -> Octet {
    return Octet(
        vec4<f32>(unpack2x16float(v.x), unpack2x16float(v.y)),
        vec4<f32>(unpack2x16float(v.z), unpack2x16float(v.w)),
    );
}

// The first of two bf16 lies in the low half of a word; widening shifts it to the top.
fn unpack_bf16(v: vec4<u32>) -> Octet {
    let even = bitcast<vec4<f32>>(v << vec4<u32>(16u));
    let odd = bitcast<vec4<f32>>(v & vec4<u32>(0xffff0000u));
    return Octet(vec4<f32>(even.x, odd.x, even.y, odd.y), vec4<f32>(even.z, odd.z, even.w, odd.w));
}

// What an output's weights are read by: octets, or, quantised, blocks of four octets that share a
// scale, in GGML's formats.
const BLOCK_OCTETS: u32 = 4u;

fn is_quantised() -> bool {
    return WEIGHT_FORMAT >= 3u;
}

// The four numbers of `n_bits` bits that begin `down` bits above the lowest of each byte, signed.
fn signed_fields(word: u32, n_bits: u32, down: u32) -> vec4<f32> {
    let to_top = vec4<u32>(32u - n_bits - down) - vec4<u32>(0u, 8u, 16u, 24u);
    let at_top = bitcast<vec4<i32>>(vec4<u32>(word) << to_top);
    return vec4<f32>(at_top >> vec4<u32>(32u - n_bits));
}

// Octet `i` of a block without its scale, from the 16 bytes that hold it. With q8_0 these are half
// of the block's signed bytes. With q4_0 they are all of its numbers: the first 16 in the low
// halves of bytes, the last 16 in the high ones, 8 greater than they stand for.
fn unpack_quants(v: vec4<u32>, i: u32) -> Octet {
    let words = select(v.xy, v.zw, (i & 1u) == 1u);
    if WEIGHT_FORMAT == 3u {
        return Octet(signed_fields(words.x, 8u, 0u), signed_fields(words.y, 8u, 0u));
    }
    // Flipping the highest of four bits takes 8 away.
    let signed = words ^ vec2<u32>(0x88888888u);
    let down = 4u * (i / 2u);
    return Octet(signed_fields(signed.x, 4u, down), signed_fields(signed.y, 4u, down));
}

fn scaled(octet: Octet, scale: f32) -> Octet {
    return Octet(octet.low * scale, octet.high * scale);
}

fn lanes_sum(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}
