// Writing keys and values, in f32 or f16, to `kv: array<vec4<u32>>`. Expects it, `KV_FORMAT`,
// `octet` and `kv_buffer`.

fn kv_put(cycle: u32, part: u32, head: u32, place: u32, octet: u32, values: Octet) {
    let at = kv_index(cycle, part, head, place, octet);
    if KV_FORMAT == 1u {
        kv[at] = pack_f16(values);
    } else {
        kv[2u * at] = bitcast<vec4<u32>>(values.low);
        kv[2u * at + 1u] = bitcast<vec4<u32>>(values.high);
    }
}
