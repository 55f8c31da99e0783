// Eight weights at a time: rows are padded with zeros to whole octets. Every format widens to f32
// exactly.

override WEIGHT_FORMAT: u32 = 0u; // 0 f32, 1 f16, 2 bf16

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


fn lanes_sum(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}
