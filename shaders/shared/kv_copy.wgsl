// Which octet of a listed row's keys and values an invocation copies. Expects `copy_octet`, `list`,
// `n_kv_heads` and `head_octets` in `params`, and the names that it imports with `kv_cache`.

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
