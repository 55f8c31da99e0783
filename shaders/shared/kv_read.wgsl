// Reading the cache, bound as array<vec4<u32>>.

struct KvOctet {
    low: vec4<f32>,
    high: vec4<f32>,
}

// Eight neighbouring elements.
fn kv_octet(octet: u32) -> KvOctet {
    if KV_FORMAT == 1u {
        let v = kv[octet];
        return KvOctet(
            vec4<f32>(unpack2x16float(v.x), unpack2x16float(v.y)),
            vec4<f32>(unpack2x16float(v.z), unpack2x16float(v.w)),
        );
    }
    return KvOctet(
        bitcast<vec4<f32>>(kv[2u * octet]),
        bitcast<vec4<f32>>(kv[2u * octet + 1u]),
    );
}

fn kv_element(element: u32) -> f32 {
    if KV_FORMAT == 1u {
        let pair = unpack2x16float(kv[element / 8u][element / 2u % 4u]);
        return select(pair.x, pair.y, element % 2u == 1u);
    }
    return bitcast<f32>(kv[element / 4u][element % 4u]);
}
