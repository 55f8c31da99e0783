// Attention, its KV cache in a buffer.
// One workgroup stands for a tile of listed rows by neighbouring query heads that share a KV
// head, up to 8 query vectors ("items"), and a split of the keys: each key and value is read once
// for all items.
//
// The softmax is online: keys come in blocks of 64, and a running maximum and sum are kept for
// each item. The zero token seeds them: maximum = its score, sum = 1, output = its value. Its
// share of the sum at the end is the zero attention. Blocks begin at fixed positions and items do
// not mix, so a row's result does not depend on the other rows of its tile.

struct Params {
    n_heads: u32,
    n_kv_heads: u32,
    head_dim: u32,
    head_octets: u32,
    kv_places: u32,
    // Tiles and splits of `attention`. With textures, the rows are those of a workgroup's quartets,
    // and a split is a workgroup of those that share a quartet's keys in `scores_texture`; Direct3D
    // does not tell it how many there are.
    heads_per_tile: u32,
    rows_per_tile: u32,
    n_splits: u32,
    split_keys: u32,
    cycle: u32,
    list: u32,
    out_stride: u32,
    scale: f32,
    // Zero token: whether there is one, and the rows of `pool` with its key and value.
    has_zero: u32,
    zero_key: u32,
    zero_value: u32,
    pool_heads: u32,
    // Keys that a row sees, its own counted.
    window: u32,
    // Where the zero attention goes: the middle layer, or nowhere.
    writes_zeros: u32,
    layer: u32,
    n_layers: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>; // [row][head][2 head_octets]
@group(0) @binding(2) var<storage, read> kv: array<vec4<u32>>; // see `shared/kv_cache`
// [key, value][row][head][2 head_octets]
@group(0) @binding(3) var<storage, read> pool: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> rows: array<u32>; // see `shared/rows`
@group(0) @binding(5) var<storage, read_write> out: array<f32>; // [row][out_stride]
@group(0) @binding(6) var<storage, read_write> zeros: array<f32>; // [row][layer][head]
@group(0) @binding(7) var<storage, read_write> parts: array<f32>; // see `part_of`

override KV_FORMAT: u32 = 0u; // 0 f32 (two vec4<u32> an octet), 1 f16 (one)
override ITEMS: u32 = 8u;       // items in use, at most 8
override HEAD_OCTETS: u32 = 8u; // at most 32

#import shared/attention
#import shared/split
#import shared/rows
#import shared/kv_cache

const LANES: u32 = 64u;
const LANES_PER_ITEM: u32 = 8u;
const BLOCK: u32 = 64u; // keys, one a lane

var<workgroup> q_tile: array<vec4<f32>, 512>;  // [item][2 head_octets]
var<workgroup> weight_tile: array<f32, 512>;   // [item][key of the block]
var<workgroup> lane_values: array<f32, 64>;    // [item][lane of the item]
var<workgroup> item_values: array<f32, 8>;
var<workgroup> item_positions: array<u32, 8>;

fn kv_get(cycle: u32, part: u32, head: u32, place: u32, octet: u32) -> KvOctet {
    let at = kv_index(cycle, part, head, place, octet);
    if KV_FORMAT == 1u {
        return kv_unpack_f16(kv[at]);
    }
    return KvOctet(bitcast<vec4<f32>>(kv[2u * at]), bitcast<vec4<f32>>(kv[2u * at + 1u]));
}

// One element of the KV cache.
fn kv_element(element: u32) -> f32 {
    if KV_FORMAT == 1u {
        let pair = unpack2x16float(kv[element / 8u][element / 2u % 4u]);
        return select(pair.x, pair.y, element % 2u == 1u);
    }
    return bitcast<f32>(kv[element / 4u][element % 4u]);
}

fn lanes_sum(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

// Where a row of the pool begins for a query head.
fn pool_at(row: u32, head: u32) -> u32 {
    let pool_head = head * params.pool_heads / params.n_heads;
    return (row * params.pool_heads + pool_head) * 2u * HEAD_OCTETS;
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
    let split = group.x / (params.n_kv_heads * tiles);
    let kv_head = group.x / tiles % params.n_kv_heads;
    let first_head = kv_head * group_size + group.x % tiles * params.heads_per_tile;
    let n_heads = min(params.heads_per_tile, (kv_head + 1u) * group_size - first_head);
    let start = cache_start_of(listed(params.list, first_slot));
    // Keys that some row of the tile sees: from the block of the first one on.
    var n_keys = 0u;
    var begin = 0xffffffffu;
    for (var slot = 0u; slot < n_slots; slot++) {
        let position = position_of(listed(params.list, first_slot + slot));
        n_keys = max(n_keys, position + 1u);
        begin = min(begin, first_key(position));
    }
    let is_split = params.n_splits > 1u;
    let first_split = begin / params.split_keys;
    begin = begin / BLOCK * BLOCK;
    if is_split {
        begin = max(begin, split * params.split_keys);
        n_keys = min(n_keys, (split + 1u) * params.split_keys);
        if split < first_split || begin >= n_keys {
            return;
        }
    }
    let has_zero = params.has_zero == 1u && (!is_split || split == first_split);

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
    if has_zero {
        let key = pool_at(params.zero_key, item_head);
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
            let value = pool_at(params.zero_value, head);
            for (var d = lane; d < params.head_dim; d += LANES) {
                output[4u * i + d / LANES] = pool[value + d / 4u][d % 4u];
            }
        }
    }

    for (var first = begin; first < n_keys; first += BLOCK) {
        // Scores: one key a lane, all items.
        let key = first + lane;
        var scores: array<vec4<f32>, 8>;
        if key < n_keys {
            for (var o = 0u; o < HEAD_OCTETS; o++) {
                let k = kv_get(params.cycle, KEY, kv_head, start + key, o);
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
        let block_keys = min(BLOCK, n_keys - first);
        for (var i = 0u; i < ITEMS; i++) {
            for (var d = lane; d < params.head_dim; d += LANES) {
                output[4u * i + d / LANES] *= item_values[i];
            }
        }
        for (var k = 0u; k < block_keys; k++) {
            let start = 8u * kv_index(params.cycle, VALUE, kv_head, start + first + k, 0u);
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
    }
    workgroupBarrier();
    for (var i = 0u; i < ITEMS; i++) {
        let slot = i / params.heads_per_tile;
        let head = first_head + i % params.heads_per_tile;
        if slot < n_slots && head < first_head + n_heads {
            let row = listed(params.list, first_slot + slot);
            let part_at = 4u * part_of(first_slot + slot, split, head);
            for (var d = lane; d < params.head_dim; d += LANES) {
                let value = output[4u * i + d / LANES];
                if is_split {
                    parts[part_at + d] = value;
                } else {
                    out[row * params.out_stride + head * params.head_dim + d] = value / item_values[i];
                }
            }
        }
    }
    // One lane of each item writes the scalars: of a split its maximum, sum and zero score, else
    // the zero attention.
    let slot = item / params.heads_per_tile;
    let head = first_head + item % params.heads_per_tile;
    if part != 0u || slot >= n_slots || head >= first_head + n_heads {
        return;
    }
    if is_split {
        let at = 4u * part_of(first_slot + slot, split, head) + 8u * HEAD_OCTETS;
        parts[at] = running_max;
        parts[at + 1u] = running_sum;
        parts[at + 2u] = zero_score;
    } else if params.writes_zeros == 1u {
        let row = listed(params.list, first_slot + slot);
        let zero = select(0.0, exp(zero_score - running_max) / running_sum, has_zero);
        zeros[(row * params.n_layers + params.layer) * params.n_heads + head] = zero;
    }
}
