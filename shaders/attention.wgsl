// out[row][head] = softmax over the zero token and the cached keys, applied to their values.
// One workgroup stands for a tile of listed rows by neighbouring query heads that share a KV
// head: up to 8 query vectors ("items"), so that each key and value is read once for all.
// The keys and values of positions 0 .. the row's own are in the cache.
//
// The softmax is online: keys come in blocks of 64, and a running maximum and sum are kept for
// each item. The zero token seeds them: maximum = its score, sum = 1, output = its value. What is
// left of its weight at the end is the zero attention. Blocks begin at fixed positions and items
// do not mix, so a row's result does not depend on what else is in its tile.

struct Params {
    n_heads: u32,
    n_kv_heads: u32,
    head_dim: u32,
    head_stride: u32,
    n_ctx: u32,
    heads_per_tile: u32,
    rows_per_tile: u32,
    cycle: u32,
    list: u32,
    out_stride: u32,
    scale: f32,
    // Zero token: whether there is one, and where its key and value begin in `pool`, in vec4.
    has_zero: u32,
    zero_key: u32,
    zero_value: u32,
    pool_heads: u32,
    // Keys that a row sees, its own counted.
    window: u32,
    // Where the zero attention goes: the middle layer, or nowhere.
    writes_partials: u32,
    layer: u32,
    n_layers: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;    // [row][head][head_stride / 4]
@group(0) @binding(2) var<storage, read> kv: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> pool: array<vec4<f32>>; // [key, value][row][head][head_stride / 4]
@group(0) @binding(4) var<storage, read> rows: array<u32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;      // [row][out_stride]
@group(0) @binding(6) var<storage, read_write> partials: array<f32>; // [row][layer][part]

#import shared/rows
#import shared/kv_cache
#import shared/kv_read

override ITEMS: u32 = 8u;       // items in use, at most 8
override HEAD_OCTETS: u32 = 8u; // head_stride / 8, at most 32

const LANES: u32 = 64u;
const LANES_PER_ITEM: u32 = 8u;
const BLOCK: u32 = 64u; // keys, one a lane
const LOWEST: f32 = -3.0e38;

var<workgroup> q_tile: array<vec4<f32>, 512>;  // [item][head_stride / 4]
var<workgroup> weight_tile: array<f32, 512>;   // [item][key of the block]
var<workgroup> lane_values: array<f32, 64>;    // [item][lane of the item]
var<workgroup> item_values: array<f32, 8>;
var<workgroup> zero_weights: array<f32, 8>;
var<workgroup> item_positions: array<u32, 8>;

fn lanes_sum(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

// The sum over an item's lanes, in a fixed order.
fn item_sum(item: u32) -> f32 {
    var sum = 0.0;
    for (var i = 0u; i < LANES_PER_ITEM; i++) {
        sum += lane_values[item * LANES_PER_ITEM + i];
    }
    return sum;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first_slot = group.y * params.rows_per_tile;
    if first_slot >= n_listed(params.list) {
        return;
    }
    let n_slots = min(params.rows_per_tile, n_listed(params.list) - first_slot);
    let group_size = params.n_heads / params.n_kv_heads;
    let tiles = (group_size + params.heads_per_tile - 1u) / params.heads_per_tile;
    let kv_head = group.x / tiles;
    let first_head = kv_head * group_size + group.x % tiles * params.heads_per_tile;
    let n_heads = min(params.heads_per_tile, (kv_head + 1u) * group_size - first_head);
    // Keys that some row of the tile sees: from the block of the first one on.
    var n_keys = 0u;
    var begin = 0xffffffffu;
    for (var slot = 0u; slot < n_slots; slot++) {
        let seen = position_of(listed(params.list, first_slot + slot)) + 1u;
        n_keys = max(n_keys, seen);
        begin = min(begin, seen - min(seen, params.window));
    }
    begin = begin / BLOCK * BLOCK;

    // Queries to workgroup memory. Items past the end stay zero and are not written out.
    let width = 2u * HEAD_OCTETS;
    for (var i = lane; i < ITEMS * width; i += LANES) {
        let slot = i / width / params.heads_per_tile;
        let head = i / width % params.heads_per_tile;
        q_tile[i] = vec4<f32>();
        if slot < n_slots && head < n_heads {
            let row = listed(params.list, first_slot + slot);
            q_tile[i] = q[(row * params.n_heads + first_head + head) * width + i % width];
        }
    }
    if lane < ITEMS {
        let slot = min(lane / params.heads_per_tile, n_slots - 1u);
        item_positions[lane] = position_of(listed(params.list, first_slot + slot));
    }
    workgroupBarrier();

    // For maxima and sums, eight lanes serve an item; for outputs, a lane serves dimensions
    // lane, lane + 64 ... of all items.
    let item = lane / LANES_PER_ITEM;
    let part = lane % LANES_PER_ITEM;
    let item_head = min(first_head + item % params.heads_per_tile, params.n_heads - 1u);
    var zero_score = LOWEST;
    var running_max = LOWEST;
    var running_sum = 0.0;
    var output: array<f32, 32>; // [item][dimension / 64]
    if params.has_zero == 1u {
        let key = params.zero_key + item_head * params.pool_heads / params.n_heads * width;
        var dot = vec4<f32>();
        if item < ITEMS {
            for (var i = part; i < width; i += LANES_PER_ITEM) {
                dot = fma(q_tile[item * width + i], pool[key + i], dot);
            }
        }
        lane_values[lane] = lanes_sum(dot);
        workgroupBarrier();
        zero_score = params.scale * item_sum(item);
        running_max = zero_score;
        running_sum = 1.0;
        workgroupBarrier();
        for (var i = 0u; i < ITEMS; i++) {
            let head = min(first_head + i % params.heads_per_tile, params.n_heads - 1u);
            let value = params.zero_value + head * params.pool_heads / params.n_heads * width;
            for (var d = lane; d < params.head_dim; d += LANES) {
                output[4u * i + d / LANES] = pool[value + d / 4u][d % 4u];
            }
        }
    }

    for (var first_key = begin; first_key < n_keys; first_key += BLOCK) {
        // Scores: one key a lane, all items.
        let key = first_key + lane;
        var scores: array<vec4<f32>, 8>;
        if key < n_keys {
            let start = kv_row(params.cycle, KEY, kv_head, key) / 8u;
            for (var o = 0u; o < HEAD_OCTETS; o++) {
                let k = kv_octet(start + o);
                for (var i = 0u; i < ITEMS; i++) {
                    let at = i * width + 2u * o;
                    scores[i] = fma(k.high, q_tile[at + 1u], fma(k.low, q_tile[at], scores[i]));
                }
            }
        }
        for (var i = 0u; i < ITEMS; i++) {
            let visible = item_positions[i] - key < params.window && key <= item_positions[i];
            let score = params.scale * lanes_sum(scores[i]);
            weight_tile[i * BLOCK + lane] = select(LOWEST, score, visible);
        }
        workgroupBarrier();

        // Maximum, then weights and their sum: eight keys a lane.
        let weights_at = item * BLOCK + part * (BLOCK / LANES_PER_ITEM);
        var block_max = LOWEST;
        if item < ITEMS {
            for (var i = 0u; i < BLOCK / LANES_PER_ITEM; i++) {
                block_max = max(block_max, weight_tile[weights_at + i]);
            }
        }
        lane_values[lane] = block_max;
        workgroupBarrier();
        var new_max = running_max;
        for (var i = 0u; i < LANES_PER_ITEM; i++) {
            new_max = max(new_max, lane_values[item * LANES_PER_ITEM + i]);
        }
        var sum = 0.0;
        if item < ITEMS {
            for (var i = 0u; i < BLOCK / LANES_PER_ITEM; i++) {
                let score = weight_tile[weights_at + i];
                let weight = select(0.0, exp(score - new_max), score > LOWEST);
                weight_tile[weights_at + i] = weight;
                sum += weight;
            }
        }
        let shrink = exp(running_max - new_max);
        workgroupBarrier();
        lane_values[lane] = sum;
        if part == 0u {
            item_values[item] = shrink;
        }
        workgroupBarrier();
        running_sum = running_sum * shrink + item_sum(item);
        running_max = new_max;

        // Outputs: all keys of the block.
        let block_keys = min(BLOCK, n_keys - first_key);
        for (var i = 0u; i < ITEMS; i++) {
            for (var d = lane; d < params.head_dim; d += LANES) {
                output[4u * i + d / LANES] *= item_values[i];
            }
        }
        for (var k = 0u; k < block_keys; k++) {
            let start = kv_row(params.cycle, VALUE, kv_head, first_key + k);
            for (var d = lane; d < params.head_dim; d += LANES) {
                let value = kv_element(start + d);
                for (var i = 0u; i < ITEMS; i++) {
                    let at = 4u * i + d / LANES;
                    output[at] = fma(weight_tile[i * BLOCK + k], value, output[at]);
                }
            }
        }
        workgroupBarrier();
    }

    if part == 0u {
        item_values[item] = running_sum;
        zero_weights[item] = 0.0;
        if params.has_zero == 1u {
            zero_weights[item] = exp(zero_score - running_max) / running_sum;
        }
    }
    workgroupBarrier();
    for (var i = 0u; i < ITEMS; i++) {
        let slot = i / params.heads_per_tile;
        let head = i % params.heads_per_tile;
        if slot < n_slots && head < n_heads {
            let row = listed(params.list, first_slot + slot);
            let to = row * params.out_stride + (first_head + head) * params.head_dim;
            for (var d = lane; d < params.head_dim; d += LANES) {
                out[to + d] = output[4u * i + d / LANES] / item_values[i];
            }
        }
    }
    // The zero attention of the tile's heads, one sum a row.
    if params.writes_partials == 1u && lane < n_slots {
        var sum = 0.0;
        for (var head = 0u; head < n_heads; head++) {
            sum += zero_weights[lane * params.heads_per_tile + head];
        }
        let row = listed(params.list, first_slot + lane);
        let n_parts = params.n_kv_heads * tiles;
        partials[(row * params.n_layers + params.layer) * n_parts + group.x] = sum;
    }
}
