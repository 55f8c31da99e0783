// Writing queries and a KV cache in buffers. Expects `q: array<vec4<f32>>`,
// `kv: array<vec4<u32>>`, `params.n_heads` and `kv_cache`.

fn kv_put(
    cycle: u32,
    part: u32,
    head: u32,
    place: u32,
    octet: u32,
    low: vec4<f32>,
    high: vec4<f32>,
) {
    let at = kv_index(cycle, part, head, place, octet);
    if KV_FORMAT == 1u {
        kv[at] = kv_pack_f16(low, high);
    } else {
        kv[2u * at] = bitcast<vec4<u32>>(low);
        kv[2u * at + 1u] = bitcast<vec4<u32>>(high);
    }
}

fn q_put(row: u32, head: u32, octet: u32, low: vec4<f32>, high: vec4<f32>) {
    let at = 2u * ((row * params.n_heads + head) * params.head_octets + octet);
    q[at] = low;
    q[at + 1u] = high;
}
