// Writing queries to `y: array<f32>`, [row][head][8 HEAD_OCTETS], and keys and values to
// `kv: array<vec4<u32>>`. Expects both, `KV_FORMAT`, `N_HEADS`, `octet` and `kv_buffer`.

fn q_put(row: u32, head: u32, octet: u32, values: Octet) {
    let at = 8u * ((row * N_HEADS + head) * HEAD_OCTETS + octet);
    y[at] = values.low.x;
    y[at + 1u] = values.low.y;
    y[at + 2u] = values.low.z;
    y[at + 3u] = values.low.w;
    y[at + 4u] = values.high.x;
    y[at + 5u] = values.high.y;
    y[at + 6u] = values.high.z;
    y[at + 7u] = values.high.w;
}

fn kv_put(cycle: u32, part: u32, head: u32, place: u32, octet: u32, values: Octet) {
    let at = kv_index(cycle, part, head, place, octet);
    if KV_FORMAT == 1u {
        kv[at] = pack_f16(values);
    } else {
        kv[2u * at] = bitcast<vec4<u32>>(values.low);
        kv[2u * at + 1u] = bitcast<vec4<u32>>(values.high);
    }
}
