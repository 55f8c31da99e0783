// out[row][head] = softmax over the zero token and the scores of the keys, applied to the values.
// One invocation stands for four query vectors and eight dimensions of their outputs.

struct Params {
    head_dim: u32,
    // log2 of the places in a row of texels of the cache.
    kv_places_log2: u32,
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
@group(0) @binding(1) var q: texture_storage_2d<rgba32float, read>; // [row][head, 2 HEAD_OCTETS]
@group(0) @binding(2) var kv: texture_storage_2d_array<rgba32uint, read>; // `shared/kv_texture`
// [key or value of a row][pool head, 2 HEAD_OCTETS]
@group(0) @binding(3) var pool: texture_storage_2d<rgba32float, read>;
@group(0) @binding(4) var<storage, read> rows: array<u32>; // see `shared/rows`
// [listed row, head][key / 4]
@group(0) @binding(5) var scores: texture_storage_2d<rgba32float, read>;
@group(0) @binding(6) var<storage, read_write> out: array<f32>; // see `out_at`
@group(0) @binding(7) var<storage, read_write> zeros: array<f32>; // [row][middle layer][head]

override KV_FORMAT: u32 = 0u; // 0 f32 (two vec4<u32> an octet), 1 f16 (one), 2 q8_0
override N_HEADS: u32 = 1u;
override N_KV_HEADS: u32 = 1u;
override HEAD_OCTETS: u32 = 8u;
override ROWS_PER_TILE: u32 = 4u; // rows whose query vectors make quartets, at most 4
override HAS_ZERO: u32 = 0u; // 1: there is a zero token
override SOFT_CAP: u32 = 0u; // 1: scores have a soft cap
override WRITES_ZEROS: u32 = 0u; // 1: zero attention is written

#import shared/rows
#import shared/octet
#import shared/kv_texture
#import shared/kv_q8
#import shared/q8_get
#import shared/kv_get_texture
#import shared/attention
#import shared/soft_cap
#import shared/quartet

// The online softmax of a query vector: scores come four at a time, and a running maximum and sum
// are kept. The zero token seeds them: maximum = its score, sum = 1, output = its value.
struct State {
    low: vec4<f32>,
    high: vec4<f32>,
    maximum: f32,
    sum: f32,
    zero_score: f32,
}

fn seeded(row: u32, head: u32, octet: u32) -> State {
    if HAS_ZERO == 0u {
        return State(vec4<f32>(), vec4<f32>(), LOWEST, 0.0, LOWEST);
    }
    let width = 2u * HEAD_OCTETS;
    let pool_x = head * params.pool_heads / N_HEADS * width;
    var products = vec4<f32>();
    for (var i = 0u; i < width; i++) {
        let query = textureLoad(q, vec2<u32>(head * width + i, row));
        products = fma(query, textureLoad(pool, vec2<u32>(pool_x + i, params.zero_key)), products);
    }
    let score = capped(params.scale * component_sum(products), params.soft_cap);
    let value = vec2<u32>(pool_x + 2u * octet, params.zero_value);
    let low = textureLoad(pool, value);
    let high = textureLoad(pool, value + vec2<u32>(1u, 0u));
    return State(low, high, score, 1.0, score);
}

// Four keys' values, weighed and added; the sums so far are scaled down to the new maximum.
fn add(s: State, score: vec4<f32>, a: Octet, b: Octet, c: Octet, d: Octet) -> State {
    let largest = max(max(score.x, score.y), max(score.z, score.w));
    let maximum = max(s.maximum, largest);
    let w = select(vec4<f32>(), exp(score - maximum), score > vec4<f32>(LOWEST));
    let shrink = exp(s.maximum - maximum);
    var low = fma(vec4<f32>(w.y), b.low, w.x * a.low);
    var high = fma(vec4<f32>(w.y), b.high, w.x * a.high);
    low = fma(vec4<f32>(w.w), d.low, fma(vec4<f32>(w.z), c.low, low));
    high = fma(vec4<f32>(w.w), d.high, fma(vec4<f32>(w.z), c.high, high));
    low = fma(vec4<f32>(shrink), s.low, low);
    high = fma(vec4<f32>(shrink), s.high, high);
    return State(low, high, maximum, fma(shrink, s.sum, component_sum(w)), s.zero_score);
}

fn put(four: Quartet, i: u32, octet: u32, s: State) {
    if i >= four.n {
        return;
    }
    let to = out_at(four.rows[i], four.heads[i], params.head_dim);
    let low = s.low / s.sum;
    let high = s.high / s.sum;
    for (var j = 0u; j < 4u; j++) {
        let d = 8u * octet + j;
        if d < params.head_dim {
            out[to + d] = low[j];
        }
        if d + 4u < params.head_dim {
            out[to + d + 4u] = high[j];
        }
    }
    if WRITES_ZEROS == 1u && octet == 0u {
        let zero = select(0.0, exp(s.zero_score - s.maximum) / s.sum, HAS_ZERO == 1u);
        let at = four.rows[i] * params.n_middle_layers + params.middle_layer;
        zeros[at * N_HEADS + four.heads[i]] = zero;
    }
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let octet = group.x / N_HEADS * 8u + lane;
    let first_slot = group.y * ROWS_PER_TILE;
    if first_slot >= n_listed(params.list) || octet >= HEAD_OCTETS {
        return;
    }
    let four = quartet(group.x % N_HEADS, first_slot);
    if four.n == 0u {
        return;
    }
    var s0 = seeded(four.rows.x, four.heads.x, octet);
    var s1 = seeded(four.rows.y, four.heads.y, octet);
    var s2 = seeded(four.rows.z, four.heads.z, octet);
    var s3 = seeded(four.rows.w, four.heads.w, octet);
    let y = four.slots * N_HEADS + four.heads;
    let n_keys = last_key(four.positions);
    let end = four.start + n_keys - 1u;
    for (var key = begin_key(four.positions); key < n_keys; key += 4u) {
        let place = four.start + key;
        let a = kv_get(params.cycle, VALUE, four.kv_head, place, octet);
        let b = kv_get(params.cycle, VALUE, four.kv_head, min(place + 1u, end), octet);
        let c = kv_get(params.cycle, VALUE, four.kv_head, min(place + 2u, end), octet);
        let d = kv_get(params.cycle, VALUE, four.kv_head, min(place + 3u, end), octet);
        let x = key / 4u;
        s0 = add(s0, textureLoad(scores, vec2<u32>(x, y.x)), a, b, c, d);
        s1 = add(s1, textureLoad(scores, vec2<u32>(x, y.y)), a, b, c, d);
        s2 = add(s2, textureLoad(scores, vec2<u32>(x, y.z)), a, b, c, d);
        s3 = add(s3, textureLoad(scores, vec2<u32>(x, y.w)), a, b, c, d);
    }
    put(four, 0u, octet, s0);
    put(four, 1u, octet, s1);
    put(four, 2u, octet, s2);
    put(four, 3u, octet, s3);
}
