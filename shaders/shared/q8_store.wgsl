// Storing queries, and keys and values in q8_0, by workgroups of whole heads, a lane an octet:
// lanes share the largest sizes of their octets, then each writes two neighbouring pairs of words
// of its head's row. Expects `octet`, `rows`, `kv_q8`, `q8_round`, `q_put`, `q8_put`, `N_HEADS`,
// `N_KV_HEADS`, `HEAD_OCTETS`, `WORKGROUP_SIZE`, `first_cycle` and `n_cycles` in `params`, and in
// workgroup memory `lane_values: array<f32>` and `lane_pairs: array<vec2<u32>>`, one for each lane.

// The scale of the block that begins with octet `block` of the head whose first lane is `first`.
fn scale_bits(first: u32, block: u32) -> u32 {
    var largest = 0.0;
    for (var i = block; i < min(block + Q8_BLOCK, HEAD_OCTETS); i++) {
        // Lanes past the last whole head have no neighbours.
        largest = max(largest, lane_values[min(first + i, WORKGROUP_SIZE - 1u)]);
    }
    return q8_scale_bits(largest);
}

// Two blocks' scales in a word; past the end zero.
fn scale_word(first: u32, block: u32) -> u32 {
    var word = 0u;
    if block < HEAD_OCTETS {
        word = scale_bits(first, block);
    }
    if block + Q8_BLOCK < HEAD_OCTETS {
        word |= scale_bits(first, block + Q8_BLOCK) << 16u;
    }
    return word;
}

// Pair `pair` of a head's row; zeros past the end.
fn row_pair(first: u32, pair: u32) -> vec2<u32> {
    if pair < HEAD_OCTETS {
        return lane_pairs[first + pair];
    }
    let block = (pair - HEAD_OCTETS) * Q8_SCALED;
    return vec2<u32>(scale_word(first, block), scale_word(first, block + 2u * Q8_BLOCK));
}

// Octet `octet` of a row's outputs, counted from the first query, which is the lane's if
// `is_present`. Every lane must call it.
fn store_q8(row: u32, octet: u32, values: Octet, is_present: bool, lane: u32) {
    let head = octet / HEAD_OCTETS;
    let of_head = lane % HEAD_OCTETS;
    let first = lane - of_head;
    lane_values[lane] = largest_size(values);
    workgroupBarrier();
    let scale = f16_value(scale_bits(first, of_head / Q8_BLOCK * Q8_BLOCK));
    lane_pairs[lane] = vec2<u32>(q8_word(values.low, scale), q8_word(values.high, scale));
    workgroupBarrier();
    if !is_present {
        return;
    }
    if head < N_HEADS {
        q_put(row, head, of_head, values);
        return;
    }
    if of_head >= q8_texels() {
        return;
    }
    let part = (head - N_HEADS) / N_KV_HEADS;
    let kv_head = (head - N_HEADS) % N_KV_HEADS;
    let place = cache_start_of(row) + position_of(row);
    let pairs = vec4<u32>(row_pair(first, 2u * of_head), row_pair(first, 2u * of_head + 1u));
    for (var i = 0u; i < params.n_cycles; i++) {
        q8_put(params.first_cycle + i, part, kv_head, place, of_head, pairs);
    }
}
