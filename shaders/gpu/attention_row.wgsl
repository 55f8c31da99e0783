// out[row][head] = softmax over the zero token and the keys that the row sees, applied to their
// values, for rows that are alone in their sequences. One workgroup stands for a split of the keys
// and a tile of HEADS_PER_TILE query heads of a listed row; tiles follow each other within a split.

struct Params {
    head_dim: u32,
    kv_places: u32,
    cycle: u32,
    list: u32,
    // Values from one row of `out` to the next.
    out_stride: u32,
    scale: f32,
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
@group(0) @binding(5) var<storage, read_write> out: array<f32>; // [row][out_stride]
@group(0) @binding(6) var<storage, read_write> zeros: array<f32>; // [row][middle layer][head]
// [listed row][split][head], each as `part_of` says.
@group(0) @binding(7) var<storage, read_write> parts: array<f32>;

override WORKGROUP_SIZE: u32 = 128u; // a power of two from 64 to 1024
override KV_FORMAT: u32 = 0u; // 0 f32 (two vec4<u32> an octet), 1 f16 (one)
override N_HEADS: u32 = 1u;
override N_KV_HEADS: u32 = 1u;
override HEAD_OCTETS: u32 = 8u; // at most 32, and at most the lanes of a subgroup
// Neighbouring query heads of one KV head, 1 or 2: it divides N_HEADS / N_KV_HEADS.
override HEADS_PER_TILE: u32 = 1u;
override N_SPLITS: u32 = 1u; // splits of a full KV cache; 1: nothing is split
override SPLIT_KEYS: u32 = 64u; // keys of a split
override HAS_ZERO: u32 = 0u; // 1: there is a zero token
override WRITES_ZEROS: u32 = 0u; // 1: zero attention is written

#import shared/rows
#import shared/octet
#import shared/kv_buffer
#import shared/attention
#import shared/head_softmax

// Of one head at a time: [subgroup][2 HEAD_OCTETS] of the sums of values, and [subgroup] of maximum
// and sum. A subgroup has a lane for each octet, and eight lanes or more.
var<workgroup> subgroup_values: array<vec4<f32>, 2u * WORKGROUP_SIZE>;
var<workgroup> subgroup_softmax: array<vec2<f32>, WORKGROUP_SIZE / 8u>;

// What the cache holds of an octet; the second half only of f32.
struct Words {
    low: vec4<u32>,
    high: vec4<u32>,
}

fn kv_words(at: u32) -> Words {
    if KV_FORMAT == 1u {
        return Words(kv[at], vec4<u32>());
    }
    return Words(kv[2u * at], kv[2u * at + 1u]);
}

fn kv_octet(words: Words) -> Octet {
    if KV_FORMAT == 1u {
        return unpack_f16(words.low);
    }
    return Octet(bitcast<vec4<f32>>(words.low), bitcast<vec4<f32>>(words.high));
}

// A head's scaled query. A lane past the last octet has zeros.
fn query_octet(row: u32, head: u32, octet: u32) -> Octet {
    if octet >= HEAD_OCTETS {
        return Octet();
    }
    let at = 2u * ((row * N_HEADS + head) * HEAD_OCTETS + octet);
    return Octet(params.scale * q[at], params.scale * q[at + 1u]);
}

fn pool_octet(row: u32, head: u32, octet: u32) -> Octet {
    let pool_head = head * params.pool_heads / N_HEADS;
    let at = 2u * ((row * params.pool_heads + pool_head) * HEAD_OCTETS + octet);
    return Octet(pool[at], pool[at + 1u]);
}

// Lanes walk the keys in runs of `lanes_of_key()`, one octet a lane and four keys a step. All lanes
// take as many steps, whether their runs see keys or not: subgroups stay together.
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_size) subgroup_size: u32,
) {
    if group.y >= n_listed(params.list) {
        return;
    }
    let row = listed(params.list, group.y);
    let n_tiles = N_HEADS / HEADS_PER_TILE;
    let split = group.x / n_tiles;
    let head = group.x % n_tiles * HEADS_PER_TILE;
    let position = position_of(row);
    var begin = first_key(position);
    var end = position + 1u;
    var has_zero = HAS_ZERO == 1u;
    if N_SPLITS > 1u {
        has_zero = has_zero && split == begin / SPLIT_KEYS;
        begin = max(begin, split * SPLIT_KEYS);
        end = min(end, (split + 1u) * SPLIT_KEYS);
    }
    if begin >= end {
        return;
    }
    let run = lane / lanes_of_key();
    let n_runs = WORKGROUP_SIZE / lanes_of_key();
    let octet = lane % lanes_of_key();
    let octet_at = min(octet, HEAD_OCTETS - 1u);
    let q_a = query_octet(row, head, octet);
    let q_b = query_octet(row, head + HEADS_PER_TILE - 1u, octet);
    var a = no_keys();
    var b = no_keys();
    var zero_a = LOWEST;
    var zero_b = LOWEST;
    if has_zero {
        zero_a = over_key(products(q_a, pool_octet(params.zero_key, head, octet_at)));
        a = seeded(run == 0u, zero_a, pool_octet(params.zero_value, head, octet_at));
        if HEADS_PER_TILE == 2u {
            zero_b = over_key(products(q_b, pool_octet(params.zero_key, head + 1u, octet_at)));
            b = seeded(run == 0u, zero_b, pool_octet(params.zero_value, head + 1u, octet_at));
        }
    }
    let kv_head = head / (N_HEADS / N_KV_HEADS);
    let start = cache_start_of(row);
    let key_at = kv_index(params.cycle, KEY, kv_head, start, octet_at);
    let value_at = kv_index(params.cycle, VALUE, kv_head, start, octet_at);
    for (var first = begin; first < end; first += 4u * n_runs) {
        let keys = first + run + n_runs * vec4<u32>(0u, 1u, 2u, 3u);
        let visible = keys < vec4<u32>(end);
        let at = HEAD_OCTETS * min(keys, vec4<u32>(end - 1u));
        let k0 = kv_words(key_at + at.x);
        let k1 = kv_words(key_at + at.y);
        let k2 = kv_words(key_at + at.z);
        let k3 = kv_words(key_at + at.w);
        let v0 = kv_words(value_at + at.x);
        let v1 = kv_words(value_at + at.y);
        let v2 = kv_words(value_at + at.z);
        let v3 = kv_words(value_at + at.w);
        let keys_now = Four(kv_octet(k0), kv_octet(k1), kv_octet(k2), kv_octet(k3));
        let values = Four(kv_octet(v0), kv_octet(v1), kv_octet(v2), kv_octet(v3));
        a = with_keys(a, scores_of(q_a, keys_now), visible, values);
        if HEADS_PER_TILE == 2u {
            b = with_keys(b, scores_of(q_b, keys_now), visible, values);
        }
    }
    let slot = group.y;
    finish(over_workgroup(a, lane, subgroup_size), slot, split, head, zero_a, lane);
    if HEADS_PER_TILE == 2u {
        workgroupBarrier();
        finish(over_workgroup(b, lane, subgroup_size), slot, split, head + 1u, zero_b, lane);
    }
}
