// A tile of `attention_subgroup`: listed rows of one sequence by neighbouring query heads, and a
// split of the keys; its items are query vectors with their softmax. Expects the overrides and
// bindings of that file, `rows`, `octet`, `attention`, `soft_cap`, `item_softmax`, and its members
// of `params`.

struct Tile {
    first_slot: u32,
    n_slots: u32,
    kv_head: u32,
    first_head: u32,
    n_heads: u32,
    split: u32,
    split_begin: u32,
    split_end: u32,
    // Where the rows' sequence begins in the cache.
    start: u32,
    // Keys begin .. end - 1 of the split are those that some row sees.
    begin: u32,
    end: u32,
}

struct Item {
    // Scaled. A lane past the last octet has zeros.
    query: Octet,
    zero_score: f32,
    softmax: Softmax,
    // The keys of the split that its row sees end with `last`.
    last: u32,
    n_keys: u32,
}

struct Items {
    a: Item,
    b: Item,
    c: Item,
    d: Item,
}

fn tile_of(index: u32, first_slot: u32) -> Tile {
    let group = N_HEADS / N_KV_HEADS;
    let n_tiles = (group + HEADS_PER_TILE - 1u) / HEADS_PER_TILE;
    let n_slots = min(ROWS_PER_TILE, n_listed(params.list) - first_slot);
    var tile = Tile();
    tile.first_slot = first_slot;
    tile.n_slots = n_slots;
    tile.kv_head = index / n_tiles % N_KV_HEADS;
    tile.first_head = tile.kv_head * group + index % n_tiles * HEADS_PER_TILE;
    tile.n_heads = min(HEADS_PER_TILE, (tile.kv_head + 1u) * group - tile.first_head);
    tile.split = index / (N_KV_HEADS * n_tiles);
    tile.split_end = 0xffffffffu;
    if N_SPLITS > 1u {
        tile.split_begin = tile.split * SPLIT_KEYS;
        tile.split_end = tile.split_begin + SPLIT_KEYS;
    }
    tile.start = cache_start_of(listed(params.list, first_slot));
    tile.begin = 0xffffffffu;
    for (var slot = first_slot; slot < first_slot + n_slots; slot++) {
        let position = position_of(listed(params.list, slot));
        tile.begin = min(tile.begin, first_key(position));
        tile.end = max(tile.end, position + 1u);
    }
    tile.begin = max(tile.begin, tile.split_begin);
    tile.end = min(tile.end, tile.split_end);
    return tile;
}

fn pool_octet(row: u32, head: u32, octet: u32) -> Octet {
    let pool_head = head * params.pool_heads / N_HEADS;
    let at = 2u * ((row * params.pool_heads + pool_head) * HEAD_OCTETS + octet);
    return Octet(pool[at], pool[at + 1u]);
}

// Item `i` before the first key. The zero token seeds one run of lanes, with the first split that
// the item's row sees. Items that are not present repeat the last row or head.
fn item_of(tile: Tile, i: u32, octet: u32, run: u32) -> Item {
    let row = listed(params.list, tile.first_slot + min(i / HEADS_PER_TILE, tile.n_slots - 1u));
    let head = tile.first_head + min(i % HEADS_PER_TILE, tile.n_heads - 1u);
    let position = position_of(row);
    let begin = max(first_key(position), tile.split_begin);
    let end = min(position + 1u, tile.split_end);
    let octet_at = min(octet, HEAD_OCTETS - 1u);
    let q_at = 2u * ((row * N_HEADS + head) * HEAD_OCTETS + octet_at);
    let scale = select(0.0, LOG2_E * params.scale, octet < HEAD_OCTETS);
    var item = Item();
    item.query = Octet(scale * q[q_at], scale * q[q_at + 1u]);
    item.zero_score = LOWEST;
    item.softmax.maximum = NO_MAXIMUM;
    item.last = end - 1u;
    item.n_keys = max(begin, end) - begin;
    if HAS_ZERO == 1u {
        let key = pool_octet(params.zero_key, head, octet_at);
        let value = pool_octet(params.zero_value, head, octet_at);
        let sum = over_key(vec2<f32>(product(item.query, key), 0.0)).x;
        let score = capped(sum, LOG2_E * params.soft_cap);
        let enters = begin == first_key(position) && item.n_keys > 0u;
        item.zero_score = select(LOWEST, score, enters);
        if enters && run == 0u {
            item.softmax = Softmax(score, 1.0, value);
        }
    }
    return item;
}

fn items_of(tile: Tile, octet: u32, run: u32) -> Items {
    let n_items = HEADS_PER_TILE * ROWS_PER_TILE;
    var items = Items();
    items.a = item_of(tile, 0u, octet, run);
    if n_items > 1u {
        items.b = item_of(tile, 1u, octet, run);
    }
    if n_items > 2u {
        items.c = item_of(tile, 2u, octet, run);
    }
    if n_items > 3u {
        items.d = item_of(tile, 3u, octet, run);
    }
    return items;
}

fn item_with_keys(before: Item, positions: vec4<u32>, keys: Four, values: Four) -> Item {
    let visible = vec4<u32>(before.last) - positions < vec4<u32>(before.n_keys);
    var item = before;
    let scores = four_capped(scores_of(item.query, keys), LOG2_E * params.soft_cap);
    item.softmax = with_keys(item.softmax, scores, visible, values);
    return item;
}

fn items_with_keys(before: Items, positions: vec4<u32>, keys: Four, values: Four) -> Items {
    let n_items = HEADS_PER_TILE * ROWS_PER_TILE;
    var items = before;
    items.a = item_with_keys(items.a, positions, keys, values);
    if n_items > 1u {
        items.b = item_with_keys(items.b, positions, keys, values);
    }
    if n_items > 2u {
        items.c = item_with_keys(items.c, positions, keys, values);
    }
    if n_items > 3u {
        items.d = item_with_keys(items.d, positions, keys, values);
    }
    return items;
}
