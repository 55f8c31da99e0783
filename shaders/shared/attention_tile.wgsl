// A tile of `attention`: listed rows by neighbouring query heads, and a split of the keys. A file
// of its own for its length: `attention` alone imports it. Expects the overrides and the workgroup
// memory of that file, `q`, `kv`, `rows`, `octet`, `kv_buffer`, `kv_q8`, `q8_get`, `attention`, and
// `cycle`, `list` and `pool_heads` in `params`.

struct Tile {
    first_slot: u32,
    n_slots: u32,
    kv_head: u32,
    first_head: u32,
    n_heads: u32,
    split: u32,
    // Where the rows' sequence begins in the cache.
    start: u32,
    // Keys begin .. end - 1: those that some row sees, from the block of the first one on. None
    // where the split has none of them.
    begin: u32,
    end: u32,
    // Whether the zero token is to enter: with the first split that some row sees.
    has_zero: bool,
}

fn tile_of(index: u32, first_slot: u32) -> Tile {
    let group = N_HEADS / N_KV_HEADS;
    let n_tiles = (group + HEADS_PER_TILE - 1u) / HEADS_PER_TILE;
    let n_slots = min(ROWS_PER_TILE, n_listed(params.list) - first_slot);
    let kv_head = index / n_tiles % N_KV_HEADS;
    let split = index / (N_KV_HEADS * n_tiles);
    let first_head = kv_head * group + index % n_tiles * HEADS_PER_TILE;
    let n_heads = min(HEADS_PER_TILE, (kv_head + 1u) * group - first_head);
    let start = cache_start_of(listed(params.list, first_slot));
    var begin = 0xffffffffu;
    var end = 0u;
    for (var slot = first_slot; slot < first_slot + n_slots; slot++) {
        let position = position_of(listed(params.list, slot));
        begin = min(begin, first_key(position));
        end = max(end, position + 1u);
    }
    let first_split = begin / SPLIT_KEYS;
    begin = begin / BLOCK * BLOCK;
    var has_zero = HAS_ZERO == 1u;
    if N_SPLITS > 1u {
        begin = max(begin, split * SPLIT_KEYS);
        end = min(end, (split + 1u) * SPLIT_KEYS);
        if split < first_split {
            end = begin;
        }
        has_zero = has_zero && split == first_split;
    }
    return Tile(
        first_slot,
        n_slots,
        kv_head,
        first_head,
        n_heads,
        split,
        start,
        begin,
        end,
        has_zero,
    );
}

fn slot_of(tile: Tile, item: u32) -> u32 {
    return tile.first_slot + item / HEADS_PER_TILE;
}

fn head_of(tile: Tile, item: u32) -> u32 {
    return tile.first_head + item % HEADS_PER_TILE;
}

// Whether an item has a row and a head: tiles at an edge have fewer.
fn is_present(tile: Tile, item: u32) -> bool {
    return item / HEADS_PER_TILE < tile.n_slots && item % HEADS_PER_TILE < tile.n_heads;
}

// Where a row of the pool begins for an item's query head.
fn pool_at(tile: Tile, item: u32, row: u32) -> u32 {
    let head = min(head_of(tile, item), N_HEADS - 1u);
    let pool_head = head * params.pool_heads / N_HEADS;
    return (row * params.pool_heads + pool_head) * 2u * HEAD_OCTETS;
}

// Queries to workgroup memory. Items that are not present stay zero.
fn load_queries(tile: Tile, lane: u32) {
    let n_items = HEADS_PER_TILE * ROWS_PER_TILE;
    let width = 2u * HEAD_OCTETS;
    for (var i = lane; i < n_items * width; i += WORKGROUP_SIZE) {
        let item = i / width;
        q_tile[i] = vec4<f32>();
        if is_present(tile, item) {
            let row = listed(params.list, slot_of(tile, item));
            q_tile[i] = q[(row * N_HEADS + head_of(tile, item)) * width + i % width];
        }
    }
    if lane < n_items {
        let slot = min(slot_of(tile, lane), tile.first_slot + tile.n_slots - 1u);
        item_positions[lane] = position_of(listed(params.list, slot));
    }
    workgroupBarrier();
}

// Pair `pair` of words of the cache, for q8_0.
fn kv_pair(pair: u32) -> vec2<u32> {
    return pair_of_two(kv[pair / 2u], pair);
}

fn kv_get(part: u32, head: u32, place: u32, octet: u32) -> Octet {
    if KV_FORMAT == 2u {
        let row = kv_row(params.cycle, part, head, place) * q8_pairs();
        let scale = q8_scale(kv_pair(row + q8_scale_pair(octet)), octet);
        return q8_octet(kv_pair(row + octet), scale);
    }
    let at = kv_index(params.cycle, part, head, place, octet);
    if KV_FORMAT == 1u {
        return unpack_f16(kv[at]);
    }
    return Octet(bitcast<vec4<f32>>(kv[2u * at]), bitcast<vec4<f32>>(kv[2u * at + 1u]));
}

// Dimension `d` of a head's row of the KV cache.
fn kv_element(row: u32, d: u32) -> f32 {
    if KV_FORMAT == 2u {
        let octet = d / 8u;
        let pair = kv_pair(row * q8_pairs() + octet);
        let word = select(pair.x, pair.y, (d & 4u) != 0u);
        let number = bitcast<i32>(word << (24u - 8u * (d & 3u))) >> 24u;
        return f32(number) * q8_scale(kv_pair(row * q8_pairs() + q8_scale_pair(octet)), octet);
    }
    let element = 8u * HEAD_OCTETS * row + d;
    if KV_FORMAT == 1u {
        let pair = unpack2x16float(kv[element / 8u][element / 2u % 4u]);
        return select(pair.x, pair.y, element % 2u == 1u);
    }
    return bitcast<f32>(kv[element / 4u][element % 4u]);
}
