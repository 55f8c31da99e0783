// Where a key or value lies in the cache of a parameter layer:
// [cycle][key, value][kv head][position][head_stride], two f16 to a word or one f32.

override KV_FORMAT: u32 = 0u; // 0 f32, 1 f16

const KEY: u32 = 0u;
const VALUE: u32 = 1u;

// Index of the first element of a head's row.
fn kv_row(cycle: u32, part: u32, head: u32, position: u32) -> u32 {
    let head_index = (cycle * 2u + part) * params.n_kv_heads + head;
    return (head_index * params.n_ctx + position) * params.head_stride;
}
