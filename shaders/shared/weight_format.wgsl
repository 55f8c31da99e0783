// Weights of every format, widened to f32 exactly. Expects `WEIGHT_FORMAT` and `octet`.
//
// Quantised weights are read by blocks of four octets that share a scale, in GGML's formats; other
// weights by octets.

const BLOCK_OCTETS: u32 = 4u;

fn is_quantised() -> bool {
    return WEIGHT_FORMAT >= 3u;
}

// The first of two bf16 lies in the low half of a word; widening shifts it to the top.
fn unpack_bf16(v: vec4<u32>) -> Octet {
    let even = bitcast<vec4<f32>>(v << vec4<u32>(16u));
    let odd = bitcast<vec4<f32>>(v & vec4<u32>(0xffff0000u));
    return Octet(vec4<f32>(even.x, odd.x, even.y, odd.y), vec4<f32>(even.z, odd.z, even.w, odd.w));
}

// The four numbers of `n_bits` bits that begin `down` bits above the lowest of each byte, less half
// of 2^n_bits. A number that begins at bit p of the mantissa of 2^(23 - p) adds itself to that
// power, exactly: this takes fewer instructions than shifting it down and converting it.
fn centred_fields(word: u32, n_bits: u32, down: u32) -> vec4<f32> {
    let at = vec4<u32>(down, down + 8u, down, down + 8u);
    let powers = (vec4<u32>(127u + 23u) - at) << vec4<u32>(23u);
    let mask = vec4<u32>((1u << n_bits) - 1u) << at;
    let words = vec4<u32>(word, word, word >> 16u, word >> 16u);
    let raised = bitcast<vec4<f32>>((words & mask) | powers);
    return raised - (bitcast<vec4<f32>>(powers) + f32(1u << (n_bits - 1u)));
}

// Octet `i` of a block without its scale, from the 16 bytes that hold it. With q8_0 these are half
// of the block's signed bytes. With q4_0 they are all of its numbers: the first 16 in the low
// halves of bytes, the last 16 in the high ones, 8 greater than they stand for.
fn unpack_quants(v: vec4<u32>, i: u32) -> Octet {
    let words = select(v.xy, v.zw, (i & 1u) == 1u);
    if WEIGHT_FORMAT == 3u {
        // Flipping the highest bit of a signed byte adds 128.
        let raised = words ^ vec2<u32>(0x80808080u);
        return Octet(centred_fields(raised.x, 8u, 0u), centred_fields(raised.y, 8u, 0u));
    }
    let down = 4u * (i / 2u);
    return Octet(centred_fields(words.x, 4u, down), centred_fields(words.y, 4u, down));
}

fn scaled(octet: Octet, scale: f32) -> Octet {
    return Octet(octet.low * scale, octet.high * scale);
}
