// The KV cache of a parameter layer in a buffer: rows of a head, in the order
// [cycle][key, value][kv head][place]. A row is octets of f32 or f16, or as `kv_q8` says. Each
// position of each sequence has a place, and a sequence's places follow each other. Expects
// `N_KV_HEADS`, `HEAD_OCTETS` and `params.kv_places`.

const KEY: u32 = 0u;
const VALUE: u32 = 1u;

// Where a head's row lies, counted in rows.
fn kv_row(cycle: u32, part: u32, head: u32, place: u32) -> u32 {
    return ((cycle * 2u + part) * N_KV_HEADS + head) * params.kv_places + place;
}

// Where an octet of f32 or f16 lies, counted in octets.
fn kv_index(cycle: u32, part: u32, head: u32, place: u32, octet: u32) -> u32 {
    return kv_row(cycle, part, head, place) * HEAD_OCTETS + octet;
}
