// out[row][head] = softmax over the zero token and the keys that the row sees, applied to their
// values. One workgroup stands for a split of the keys and a tile of listed rows of one sequence by
// query heads of one KV head, of at most four query vectors: each key is read once for all of them.

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

override WORKGROUP_SIZE: u32 = 128u; // a power of two from 64 to 1024
override KV_FORMAT: u32 = 0u; // 0 f32 (two vec4<u32> an octet), 1 f16 (one), 2 q8_0
override N_HEADS: u32 = 1u;
override N_KV_HEADS: u32 = 1u;
override HEAD_OCTETS: u32 = 8u; // at most 32, and at most the lanes of a subgroup
// The tile: neighbouring query heads of one KV head by neighbouring listed rows, at most four.
override HEADS_PER_TILE: u32 = 1u;
override ROWS_PER_TILE: u32 = 1u;
override KEYS_PER_STEP: u32 = 4u; // 2 or 4
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
#import shared/kv_words
#import shared/attention
#import shared/soft_cap
#import shared/item_softmax
#import shared/item_tile

// Of one item at a time: [subgroup][2 HEAD_OCTETS] of the sums of values, and [subgroup] of maximum
// and sum. A subgroup has a lane for each octet, and eight lanes or more.
var<workgroup> subgroup_values: array<vec4<f32>, 2u * WORKGROUP_SIZE>;
var<workgroup> subgroup_softmax: array<vec2<f32>, WORKGROUP_SIZE / 8u>;

// Writes what was staged of item `i`: the output and zero attention, or the part of a split.
fn finish(tile: Tile, i: u32, item: Item, lane: u32, subgroup_size: u32) {
    // Tiles at the end of a group have fewer heads; and not every row of a tile sees every split.
    if i % HEADS_PER_TILE >= tile.n_heads || item.n_keys == 0u {
        return;
    }
    let n_subgroups = WORKGROUP_SIZE / lanes_of_subgroup(subgroup_size);
    let slot = tile.first_slot + i / HEADS_PER_TILE;
    let row = listed(params.list, slot);
    let head = tile.first_head + i % HEADS_PER_TILE;
    let part_at = 4u * part_of(slot * N_SPLITS + tile.split, head);
    let to = out_at(row, head, params.head_dim);
    for (var d = lane; d < params.head_dim; d += WORKGROUP_SIZE) {
        let all = staged(d, n_subgroups);
        if N_SPLITS > 1u {
            parts[part_at + d] = all.value;
        } else {
            out[to + d] = all.value / all.sum;
        }
        if d == 0u && N_SPLITS > 1u {
            let at = part_at + 8u * HEAD_OCTETS;
            parts[at] = LN_2 * all.maximum;
            parts[at + 1u] = all.sum;
            parts[at + 2u] = LN_2 * item.zero_score;
        } else if d == 0u && WRITES_ZEROS == 1u {
            let zero = select(0.0, exp2(item.zero_score - all.maximum) / all.sum, HAS_ZERO == 1u);
            zeros[(row * params.n_middle_layers + params.middle_layer) * N_HEADS + head] = zero;
        }
    }
}

// Lanes walk the keys in runs of `lanes_of_key()`, one octet a lane and KEYS_PER_STEP keys a step.
// All lanes take as many steps, whether their runs see keys or not: subgroups stay together. Steps
// begin at fixed positions and items do not mix: no row's result depends on the rest of its tile.
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_size) subgroup_size: u32,
) {
    if group.y * ROWS_PER_TILE >= n_listed(params.list) {
        return;
    }
    let tile = tile_of(group.x, group.y * ROWS_PER_TILE);
    if tile.begin >= tile.end {
        return;
    }
    let octet = lane % lanes_of_key();
    var items = items_of(tile, octet, lane / lanes_of_key());
    let octet_at = min(octet, HEAD_OCTETS - 1u);
    let key_at = kv_at(KEY, tile.kv_head, tile.start, octet_at);
    let value_at = kv_at(VALUE, tile.kv_head, tile.start, octet_at);
    let n_runs = WORKGROUP_SIZE / lanes_of_key();
    let step = KEYS_PER_STEP * n_runs;
    let first = tile.split_begin + (tile.begin - tile.split_begin) / step * step;
    for (var at = first; at < tile.end; at += step) {
        let keys = at + lane / lanes_of_key() + n_runs * vec4<u32>(0u, 1u, 2u, 3u);
        // Keys that no row of the tile sees are not read.
        let read = clamp(keys, vec4<u32>(tile.begin), vec4<u32>(tile.end - 1u)) * kv_stride();
        let k0 = kv_words(key_at + read.x, octet_at);
        let k1 = kv_words(key_at + read.y, octet_at);
        var k2 = Words();
        var k3 = Words();
        if KEYS_PER_STEP == 4u {
            k2 = kv_words(key_at + read.z, octet_at);
            k3 = kv_words(key_at + read.w, octet_at);
        }
        let v0 = kv_words(value_at + read.x, octet_at);
        let v1 = kv_words(value_at + read.y, octet_at);
        var v2 = Words();
        var v3 = Words();
        if KEYS_PER_STEP == 4u {
            v2 = kv_words(value_at + read.z, octet_at);
            v3 = kv_words(value_at + read.w, octet_at);
        }
        let k = four_of(k0, k1, k2, k3, octet_at);
        let v = four_of(v0, v1, v2, v3, octet_at);
        items = items_with_keys(items, keys, k, v);
    }
    // The items move up, so that this code is there once, without variables indexed by variables.
    for (var i = 0u; i < HEADS_PER_TILE * tile.n_slots; i++) {
        stage(items.a.softmax, lane, subgroup_size);
        workgroupBarrier();
        finish(tile, i, items.a, lane, subgroup_size);
        workgroupBarrier();
        items = Items(items.b, items.c, items.d, items.d);
    }
}
