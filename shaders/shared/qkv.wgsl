// Outputs that are queries, keys and values: queries and keys are turned by the rotary angles of
// the row's position; queries go to `q_put`, keys and values to `kv_put` for the given cycles.
// Expects `q_put`, `kv_put`, `octet`, `rows`, `angles: array<vec4<f32>>`, `HAS_ROPE`, `N_HEADS`,
// `N_KV_HEADS`, `HEAD_OCTETS`, and `first_cycle` and `n_cycles` in `params`.
//
// Outputs are query heads, key heads, value heads, each padded to octets. In queries and keys the
// two dimensions of a rotary pair are neighbours: the upload of the weights puts them so.

// Two pairs, turned.
fn turned(v: vec4<f32>, angle: vec4<f32>) -> vec4<f32> {
    return v * angle.xxzz + vec4<f32>(-v.y, v.x, -v.w, v.z) * angle.yyww;
}

// Eight neighbouring outputs of a row at `position`, turned if they are of a query or a key;
// `output` counts from the first query.
fn rotated(position: u32, output: u32, outputs: Octet) -> Octet {
    let head = output / 8u / HEAD_OCTETS;
    let octet = output / 8u % HEAD_OCTETS;
    var values = outputs;
    if HAS_ROPE == 1u && head < N_HEADS + N_KV_HEADS {
        let at = 2u * (position * HEAD_OCTETS + octet);
        values = Octet(turned(outputs.low, angles[at]), turned(outputs.high, angles[at + 1u]));
    }
    return values;
}

// Eight neighbouring outputs of a row to where they belong.
fn put_qkv(row: u32, position: u32, output: u32, values: Octet) {
    let head = output / 8u / HEAD_OCTETS;
    let octet = output / 8u % HEAD_OCTETS;
    if head < N_HEADS {
        q_put(row, head, octet, values);
        return;
    }
    let part = (head - N_HEADS) / N_KV_HEADS;
    let kv_head = (head - N_HEADS) % N_KV_HEADS;
    let place = cache_start_of(row) + position;
    for (var i = 0u; i < params.n_cycles; i++) {
        kv_put(params.first_cycle + i, part, kv_head, place, octet, values);
    }
}

fn store_qkv(row: u32, output: u32, outputs: Octet) {
    let position = position_of(row);
    put_qkv(row, position, output, rotated(position, output, outputs));
}
