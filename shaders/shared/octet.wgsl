// Eight neighbouring values of a row or of a head: all rows and heads are padded to octets.

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

// Values beyond the range of f16 become its largest ones.
fn pack_f16(values: Octet) -> vec4<u32> {
    let most = vec4<f32>(65504.0);
    let a = clamp(values.low, -most, most);
    let b = clamp(values.high, -most, most);
    return vec4<u32>(
        pack2x16float(a.xy),
        pack2x16float(a.zw),
        pack2x16float(b.xy),
        pack2x16float(b.zw),
    );
}

fn component_sum(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}
