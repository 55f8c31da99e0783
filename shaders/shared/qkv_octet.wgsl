// Queries, keys and values: queries and keys are turned by the rotary angles of the row's
// position; queries go to `q`, keys and values to the KV cache of the given cycles. Expects
// `angles: array<vec4<f32>>`, `q_put`, `kv_put`, `rows` and, in `params`, `n_heads`, `n_kv_heads`,
// `head_octets`, `has_rope`, `first_cycle` and `n_cycles`.
//
// Outputs are query heads, key heads, value heads, each padded to octets. In queries and keys the
// two dimensions of a rotary pair are neighbours: the upload of the weights puts them so.

// Two pairs, turned.
fn turned(v: vec4<f32>, angle: vec4<f32>) -> vec4<f32> {
    return v * angle.xxzz + vec4<f32>(-v.y, v.x, -v.w, v.z) * angle.yyww;
}

// Eight neighbouring values of a row; `output` counts from the first query.
fn store_octet(row: u32, output: u32, low: vec4<f32>, high: vec4<f32>) {
    let head = output / 8u / params.head_octets;
    let octet = output / 8u % params.head_octets;
    let position = position_of(row);
    var values = Outputs(low, high);
    if params.has_rope == 1u && head < params.n_heads + params.n_kv_heads {
        let at = 2u * (position * params.head_octets + octet);
        values = Outputs(turned(low, angles[at]), turned(high, angles[at + 1u]));
    }
    if head < params.n_heads {
        q_put(row, head, octet, values.low, values.high);
        return;
    }
    let part = (head - params.n_heads) / params.n_kv_heads;
    let kv_head = (head - params.n_heads) % params.n_kv_heads;
    let place = cache_start_of(row) + position;
    for (var i = 0u; i < params.n_cycles; i++) {
        kv_put(params.first_cycle + i, part, kv_head, place, octet, values.low, values.high);
    }
}
