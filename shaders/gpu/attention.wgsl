// out[row][head] = softmax over the zero token and the keys that the row sees, applied to their
// values. One workgroup stands for a split of the keys and a tile of listed rows by neighbouring
// query heads that share a KV head: each key is read once for all query vectors, the tile's items.

struct Params {
    head_dim: u32,
    kv_places: u32,
    cycle: u32,
    list: u32,
    scale: f32,
    soft_cap: f32, // of scores after their scale
    // Zero token: the rows of `pool` with its key and value, and the heads of a row.
    zero_key: u32,
    zero_value: u32,
    pool_heads: u32,
    // Keys that a row sees, its own counted.
    window: u32,
    // Where the zero attention goes.
    middle_layer: u32,
    n_middle_layers: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>; // [row][head][2 HEAD_OCTETS]
@group(0) @binding(2) var<storage, read> kv: array<vec4<u32>>; // see `shared/kv_buffer`
// [key or value of a row][pool head][2 HEAD_OCTETS]
@group(0) @binding(3) var<storage, read> pool: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> rows: array<u32>; // see `shared/rows`
@group(0) @binding(5) var<storage, read_write> out: array<f32>; // see `out_at`
@group(0) @binding(6) var<storage, read_write> zeros: array<f32>; // [row][middle layer][head]
// [listed row][split][head], each as `part_of` says.
@group(0) @binding(7) var<storage, read_write> parts: array<f32>;

override KV_FORMAT: u32 = 0u; // 0 f32 (two vec4<u32> an octet), 1 f16 (one), 2 q8_0
override N_HEADS: u32 = 1u;
override N_KV_HEADS: u32 = 1u;
override HEAD_OCTETS: u32 = 8u; // at most 32
// The tile, at most eight items, and the splits of the keys.
override HEADS_PER_TILE: u32 = 1u;
override ROWS_PER_TILE: u32 = 1u;
override N_SPLITS: u32 = 1u; // splits of a full KV cache; 1: nothing is split
override SPLIT_KEYS: u32 = 64u; // keys of a split
override HAS_ZERO: u32 = 0u; // 1: there is a zero token
override SOFT_CAP: u32 = 0u; // 1: scores have a soft cap
override WRITES_ZEROS: u32 = 0u; // 1: zero attention is written

#import shared/rows
#import shared/octet
#import shared/kv_buffer
#import shared/kv_q8
#import shared/q8_get
#import shared/attention
#import shared/soft_cap
#import shared/attention_tile
#import shared/online_softmax

const WORKGROUP_SIZE: u32 = 64u;

var<workgroup> q_tile: array<vec4<f32>, 512>; // [item][2 HEAD_OCTETS]
var<workgroup> weight_tile: array<f32, 512>; // [item][key of the block]
var<workgroup> lane_values: array<f32, 64>; // [item][lane of the item]
var<workgroup> item_values: array<f32, 8>;
var<workgroup> item_positions: array<u32, 8>;

// Dimensions of an item that a lane serves: a bound that is known when the kernel is compiled, so
// that loops over them are unrolled, and `output` is indexed by constants.
fn dimensions_of_lane() -> u32 {
    return (8u * HEAD_OCTETS + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;
}

// Keys come in blocks, one a lane. Blocks begin at fixed positions and items do not mix, so that a
// row's result does not depend on the other rows of its tile. The softmax is online: a running
// maximum and sum are kept for each item. The zero token seeds them: maximum = its score, sum = 1,
// output = its value. Its share of the sum at the end is the zero attention.
//
// For maxima and sums, eight lanes serve an item; for outputs, a lane serves dimensions lane,
// lane + 64 ... of all items.
@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first_slot = group.y * ROWS_PER_TILE;
    if first_slot >= n_listed(params.list) {
        return;
    }
    let tile = tile_of(group.x, first_slot);
    if tile.begin >= tile.end {
        return;
    }
    load_queries(tile, lane);
    let item = lane / LANES_PER_ITEM;
    let part = lane % LANES_PER_ITEM;
    let n_items = HEADS_PER_TILE * ROWS_PER_TILE;
    var zero_score = LOWEST;
    var state = Softmax(LOWEST, 0.0);
    var output: array<f32, 32>; // [item][dimension / 64]
    if tile.has_zero {
        zero_score = score_of_zero(tile, lane);
        state = Softmax(zero_score, 1.0);
        for (var i = 0u; i < n_items; i++) {
            let value = pool_at(tile, i, params.zero_value);
            for (var k = 0u; k < dimensions_of_lane(); k++) {
                let d = lane + k * WORKGROUP_SIZE;
                if d < params.head_dim {
                    output[4u * i + k] = pool[value + d / 4u][d % 4u];
                }
            }
        }
    }
    for (var first = tile.begin; first < tile.end; first += BLOCK) {
        score_block(tile, first, lane);
        state = weigh_block(state, lane);
        for (var i = 0u; i < n_items; i++) {
            for (var k = 0u; k < dimensions_of_lane(); k++) {
                output[4u * i + k] *= item_values[i];
            }
        }
        for (var key = 0u; key < min(BLOCK, tile.end - first); key++) {
            let place = tile.start + first + key;
            let value_row = kv_row(params.cycle, VALUE, tile.kv_head, place);
            for (var k = 0u; k < dimensions_of_lane(); k++) {
                // Past the last dimension the last one is repeated, and its result is dropped.
                let d = min(lane + k * WORKGROUP_SIZE, params.head_dim - 1u);
                let value = kv_element(value_row, d);
                for (var i = 0u; i < n_items; i++) {
                    let at = 4u * i + k;
                    output[at] = fma(weight_tile[i * BLOCK + key], value, output[at]);
                }
            }
        }
        workgroupBarrier();
    }

    if part == 0u {
        item_values[item] = state.sum;
    }
    workgroupBarrier();
    for (var i = 0u; i < n_items; i++) {
        if !is_present(tile, i) {
            continue;
        }
        let head = head_of(tile, i);
        let to = out_at(listed(params.list, slot_of(tile, i)), head, params.head_dim);
        let part_at = 4u * part_of(slot_of(tile, i) * N_SPLITS + tile.split, head);
        for (var k = 0u; k < dimensions_of_lane(); k++) {
            let d = lane + k * WORKGROUP_SIZE;
            let value = output[4u * i + k];
            if d < params.head_dim && N_SPLITS > 1u {
                parts[part_at + d] = value;
            } else if d < params.head_dim {
                out[to + d] = value / item_values[i];
            }
        }
    }
    // One lane of each item writes the scalars: of a split its maximum, sum and zero score, else
    // the zero attention.
    if part != 0u || !is_present(tile, item) {
        return;
    }
    let slot = slot_of(tile, item);
    let head = head_of(tile, item);
    if N_SPLITS > 1u {
        let at = 4u * part_of(slot * N_SPLITS + tile.split, head) + 8u * HEAD_OCTETS;
        parts[at] = state.maximum;
        parts[at + 1u] = state.sum;
        parts[at + 2u] = zero_score;
    } else if WRITES_ZEROS == 1u {
        let at = listed(params.list, slot) * params.n_middle_layers + params.middle_layer;
        let zero = select(0.0, exp(zero_score - state.maximum) / state.sum, tile.has_zero);
        zeros[at * N_HEADS + head] = zero;
    }
}
