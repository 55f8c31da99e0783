// Writing queries to `y: array<f32>`, [row][head][8 HEAD_OCTETS]. Expects it, `N_HEADS`,
// `HEAD_OCTETS` and `octet`.

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
