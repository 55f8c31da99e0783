// Copies a position's keys and values from one cycle to the cycles after it.
// One invocation stands for one octet of one listed row, copied as it is by `copy_octet`.

struct Params {
    n_kv_heads: u32,
    kv_places: u32,
    head_octets: u32,
    list: u32,
    cycle: u32,
    // Cycles from `cycle + 1` on that get a copy.
    n_copies: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<u32>;

#import shared/rows
#import shared/kv_cache

// Words of an octet, in vec4.
fn octet_width() -> u32 {
    return select(2u, 1u, KV_FORMAT == 1u);
}

fn copy_listed(slot: u32, index: u32) {
    let octet = index % params.head_octets;
    let head = index / params.head_octets % params.n_kv_heads;
    let part = index / params.head_octets / params.n_kv_heads;
    if slot < n_listed(params.list) && part <= VALUE {
        let row = listed(params.list, slot);
        copy_octet(part, head, cache_start_of(row) + position_of(row), octet);
    }
}
