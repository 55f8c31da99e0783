// Writing keys and values in q8_0 to `kv: texture_storage_2d_array<rgba32uint, write>`. Expects it,
// `kv_texture` and `kv_q8`.

// Pairs 2 i and 2 i + 1 of a head's row: a texel.
fn q8_put(cycle: u32, part: u32, head: u32, place: u32, i: u32, pairs: vec4<u32>) {
    textureStore(kv, kv_texel(head, place, q8_texels(), i), 2u * cycle + part, pairs);
}
