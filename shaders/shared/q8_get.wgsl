// Octets of keys and values from q8_0. Expects `octet` and `kv_q8`.

// Four signed bytes. Flipping the highest bit of each adds 128; a byte at bit p of the mantissa of
// 2^(23 - p) adds itself to that power, exactly, which takes less than shifting and converting it.
fn signed_bytes(word: u32) -> vec4<f32> {
    let at = vec4<u32>(0u, 8u, 0u, 8u);
    let powers = (vec4<u32>(127u + 23u) - at) << vec4<u32>(23u);
    let flipped = word ^ 0x80808080u;
    let words = vec4<u32>(flipped, flipped, flipped >> 16u, flipped >> 16u);
    let raised = bitcast<vec4<f32>>((words & (vec4<u32>(0xffu) << at)) | powers);
    return raised - (bitcast<vec4<f32>>(powers) + 128.0);
}

// The scale of an octet, from the pair that has it.
fn q8_scale(pair: vec2<u32>, octet: u32) -> f32 {
    let two = unpack2x16float(select(pair.x, pair.y, (octet & 8u) != 0u));
    return select(two.x, two.y, (octet & 4u) != 0u);
}

fn q8_octet(pair: vec2<u32>, scale: f32) -> Octet {
    return Octet(scale * signed_bytes(pair.x), scale * signed_bytes(pair.y));
}
