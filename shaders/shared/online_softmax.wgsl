// The online softmax of `attention`, block by block. A file of its own for its length: `attention`
// alone imports it. Expects the overrides and the workgroup memory of that file, `octet`,
// `attention`, `attention_tile`, `soft_cap`, `kv_get`, and `scale`, `soft_cap`, `window` and
// `zero_key` in `params`.

const LANES_PER_ITEM: u32 = 8u;
const BLOCK: u32 = 64u; // keys, one a lane

// A running maximum, and the sum of weights relative to it.
struct Softmax {
    maximum: f32,
    sum: f32,
}

// The sum over an item's lanes, in a fixed order.
fn item_sum(item: u32) -> f32 {
    var sum = 0.0;
    for (var i = 0u; i < LANES_PER_ITEM; i++) {
        sum += lane_values[item * LANES_PER_ITEM + i];
    }
    return sum;
}

// The zero token's score for the lane's item.
fn score_of_zero(tile: Tile, lane: u32) -> f32 {
    let item = lane / LANES_PER_ITEM;
    let width = 2u * HEAD_OCTETS;
    let key = pool_at(tile, item, params.zero_key);
    var products = vec4<f32>();
    if item < HEADS_PER_TILE * ROWS_PER_TILE {
        for (var i = lane % LANES_PER_ITEM; i < width; i += LANES_PER_ITEM) {
            products = fma(q_tile[item * width + i], pool[key + i], products);
        }
    }
    lane_values[lane] = component_sum(products);
    workgroupBarrier();
    let score = capped(params.scale * item_sum(item), params.soft_cap);
    workgroupBarrier();
    return score;
}

// The scores of a block's keys, one a lane, with all items; LOWEST for keys that a row doesn't see.
fn score_block(tile: Tile, first: u32, lane: u32) {
    let n_items = HEADS_PER_TILE * ROWS_PER_TILE;
    let key = first + lane;
    var scores: array<vec4<f32>, 8>;
    if key < tile.end {
        for (var o = 0u; o < HEAD_OCTETS; o++) {
            let k = kv_get(KEY, tile.kv_head, tile.start + key, o);
            for (var i = 0u; i < n_items; i++) {
                let at = 2u * (i * HEAD_OCTETS + o);
                scores[i] = fma(k.high, q_tile[at + 1u], fma(k.low, q_tile[at], scores[i]));
            }
        }
    }
    for (var i = 0u; i < n_items; i++) {
        let visible = item_positions[i] - key < params.window && key <= item_positions[i];
        let score = capped(params.scale * component_sum(scores[i]), params.soft_cap);
        weight_tile[i * BLOCK + lane] = select(LOWEST, score, visible);
    }
    workgroupBarrier();
}

// Turns a block's scores into weights, eight keys a lane, and adds them to the softmax of the
// lane's item. Leaves in `item_values` the factors that earlier outputs shrink by.
fn weigh_block(before: Softmax, lane: u32) -> Softmax {
    let item = lane / LANES_PER_ITEM;
    let part = lane % LANES_PER_ITEM;
    let is_used = item < HEADS_PER_TILE * ROWS_PER_TILE;
    let weights_at = item * BLOCK + part * (BLOCK / LANES_PER_ITEM);
    var block_max = LOWEST;
    if is_used {
        for (var i = 0u; i < BLOCK / LANES_PER_ITEM; i++) {
            block_max = max(block_max, weight_tile[weights_at + i]);
        }
    }
    lane_values[lane] = block_max;
    workgroupBarrier();
    var maximum = before.maximum;
    for (var i = 0u; i < LANES_PER_ITEM; i++) {
        maximum = max(maximum, lane_values[item * LANES_PER_ITEM + i]);
    }
    var sum = 0.0;
    if is_used {
        for (var i = 0u; i < BLOCK / LANES_PER_ITEM; i++) {
            let score = weight_tile[weights_at + i];
            let weight = select(0.0, exp(score - maximum), score > LOWEST);
            weight_tile[weights_at + i] = weight;
            sum += weight;
        }
    }
    let shrink = exp(before.maximum - maximum);
    workgroupBarrier();
    lane_values[lane] = sum;
    if part == 0u {
        item_values[item] = shrink;
    }
    workgroupBarrier();
    return Softmax(maximum, before.sum * shrink + item_sum(item));
}
