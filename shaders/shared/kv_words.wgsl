// Octets of the KV cache as `attention_subgroup` reads them: all of a step are on their way before
// the first one is decoded. Expects `kv: array<vec4<u32>>`, `KV_FORMAT`, `HEAD_OCTETS`, `octet`,
// `kv_buffer`, `kv_q8`, `q8_get`, `item_softmax` and `params.cycle`.

// What the cache holds of an octet; in q8_0 its numbers and the pair with its scale, and the second
// half only of f32.
struct Words {
    low: vec4<u32>,
    high: vec4<u32>,
}

// From one place's octet to the next one's: in octets, or, in q8_0, in pairs of words.
fn kv_stride() -> u32 {
    return select(HEAD_OCTETS, q8_pairs(), KV_FORMAT == 2u);
}

// Where an octet of a place lies, counted alike.
fn kv_at(part: u32, head: u32, place: u32, octet: u32) -> u32 {
    return kv_row(params.cycle, part, head, place) * kv_stride() + octet;
}

fn kv_words(at: u32, octet: u32) -> Words {
    if KV_FORMAT == 1u {
        return Words(kv[at], vec4<u32>());
    }
    if KV_FORMAT == 2u {
        let scale_at = at - octet + q8_scale_pair(octet);
        let numbers = pair_of_two(kv[at / 2u], at);
        let scales = pair_of_two(kv[scale_at / 2u], scale_at);
        return Words(vec4<u32>(numbers, scales), vec4<u32>());
    }
    return Words(kv[2u * at], kv[2u * at + 1u]);
}

fn kv_octet(words: Words, octet: u32) -> Octet {
    if KV_FORMAT == 1u {
        return unpack_f16(words.low);
    }
    if KV_FORMAT == 2u {
        return q8_octet(words.low.xy, q8_scale(words.low.zw, octet));
    }
    return Octet(bitcast<vec4<f32>>(words.low), bitcast<vec4<f32>>(words.high));
}

fn four_of(a: Words, b: Words, c: Words, d: Words, octet: u32) -> Four {
    return Four(
        kv_octet(a, octet),
        kv_octet(b, octet),
        kv_octet(c, octet),
        kv_octet(d, octet),
    );
}
