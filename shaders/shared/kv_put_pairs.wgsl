// Writing keys and values, in every format, to `kv: array<vec2<u32>>`: in q8_0 lanes write pairs of
// words, which others' vectors must not hold. Expects it, `KV_FORMAT`, `octet`, `kv_buffer` and
// `kv_q8`.

fn put_pairs(at: u32, pairs: vec4<u32>) {
    kv[at] = pairs.xy;
    kv[at + 1u] = pairs.zw;
}

fn kv_put(cycle: u32, part: u32, head: u32, place: u32, octet: u32, values: Octet) {
    let at = kv_index(cycle, part, head, place, octet);
    if KV_FORMAT == 1u {
        put_pairs(2u * at, pack_f16(values));
    } else {
        put_pairs(4u * at, bitcast<vec4<u32>>(values.low));
        put_pairs(4u * at + 2u, bitcast<vec4<u32>>(values.high));
    }
}

// Pairs 2 i and 2 i + 1 of a head's row, the second one where there is one.
fn q8_put(cycle: u32, part: u32, head: u32, place: u32, i: u32, pairs: vec4<u32>) {
    let at = kv_row(cycle, part, head, place) * q8_pairs() + 2u * i;
    kv[at] = pairs.xy;
    if 2u * i + 1u < q8_pairs() {
        kv[at + 1u] = pairs.zw;
    }
}
