// The KV cache of a parameter layer in a buffer: octets of f32 or f16, in the order
// [cycle][key, value][kv head][place][octet]. Each position of each sequence has a place, and a
// sequence's places follow each other. Expects `N_KV_HEADS`, `HEAD_OCTETS` and `params.kv_places`.

const KEY: u32 = 0u;
const VALUE: u32 = 1u;

// Where an octet lies, counted in octets.
fn kv_index(cycle: u32, part: u32, head: u32, place: u32, octet: u32) -> u32 {
    let head_index = (cycle * 2u + part) * N_KV_HEADS + head;
    return (head_index * params.kv_places + place) * HEAD_OCTETS + octet;
}
