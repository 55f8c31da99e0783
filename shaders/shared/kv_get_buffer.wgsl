// Reading a KV cache in a buffer, bound as array<vec4<u32>>.

fn kv_get(cycle: u32, part: u32, head: u32, place: u32, octet: u32) -> KvOctet {
    let at = kv_index(cycle, part, head, place, octet);
    if KV_FORMAT == 1u {
        return kv_unpack_f16(kv[at]);
    }
    return KvOctet(bitcast<vec4<f32>>(kv[2u * at]), bitcast<vec4<f32>>(kv[2u * at + 1u]));
}
