// Four query vectors that share a KV head, so that each key and value is read once for them.
// Expects `rows`, `attention`, `N_HEADS`, `N_KV_HEADS`, `ROWS_PER_TILE` and `params.list`.
//
// A workgroup of the second dimension stands for `ROWS_PER_TILE` listed rows, at most four: all
// query heads of a KV head in these rows, row by row, make at most as many quartets as there are
// heads. Past the end of the list a quartet repeats the last query vector, and drops its result.

struct Quartet {
    kv_head: u32,
    slots: vec4<u32>,
    rows: vec4<u32>,
    heads: vec4<u32>,
    positions: vec4<u32>,
    // Where their sequence begins in the cache.
    start: u32,
    // How many of the four are wanted.
    n: u32,
}

// Quartets of a KV head are neighbours.
fn quartet(index: u32, first_slot: u32) -> Quartet {
    let group = N_HEADS / N_KV_HEADS;
    let kv_head = index / group;
    let end = group * min(ROWS_PER_TILE, n_listed(params.list) - first_slot);
    let first = 4u * (index % group);
    let items = min(vec4<u32>(first, first + 1u, first + 2u, first + 3u), vec4<u32>(end - 1u));
    let slots = first_slot + items / group;
    var rows: vec4<u32>;
    var positions: vec4<u32>;
    for (var i = 0u; i < 4u; i++) {
        rows[i] = listed(params.list, slots[i]);
        positions[i] = position_of(rows[i]);
    }
    let n = min(4u, end - min(end, first));
    let heads = kv_head * group + items % group;
    return Quartet(kv_head, slots, rows, heads, positions, cache_start_of(rows.x), n);
}

// One past the last key that some of the four see, and the first one.
fn last_key(positions: vec4<u32>) -> u32 {
    return max(max(positions.x, positions.y), max(positions.z, positions.w)) + 1u;
}

fn begin_key(positions: vec4<u32>) -> u32 {
    let first = min(
        min(first_key(positions.x), first_key(positions.y)),
        min(first_key(positions.z), first_key(positions.w)),
    );
    return first / 8u * 8u;
}
