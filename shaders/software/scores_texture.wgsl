// scores[row][head][key] = scale * (query . key), capped where the model caps them, for keys that
// the row sees; others get -3e38.
// One invocation stands for four query vectors and eight keys here and there.

struct Params {
    // log2 of the places in a row of texels of the cache.
    kv_places_log2: u32,
    cycle: u32,
    list: u32,
    scale: f32,
    soft_cap: f32, // of scores after their scale
    // Keys that a row sees, its own counted.
    window: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var q: texture_storage_2d<rgba32float, read>; // [row][head, 2 HEAD_OCTETS]
@group(0) @binding(2) var kv: texture_storage_2d_array<rgba32uint, read>; // `shared/kv_texture`
@group(0) @binding(3) var<storage, read> rows: array<u32>; // see `shared/rows`
// [listed row, head][key / 4]
@group(0) @binding(4) var scores: texture_storage_2d<rgba32float, write>;

override KV_FORMAT: u32 = 0u; // 0 f32 (two vec4<u32> an octet), 1 f16 (one), 2 q8_0
override N_HEADS: u32 = 1u;
override N_KV_HEADS: u32 = 1u;
override HEAD_OCTETS: u32 = 8u;
override ROWS_PER_TILE: u32 = 4u; // rows whose query vectors make quartets, at most 4
// Workgroups that share the keys of a quartet: Direct3D does not tell how many there are.
override KEY_GROUPS: u32 = 1u;
override SOFT_CAP: u32 = 0u; // 1: scores have a soft cap

#import shared/rows
#import shared/octet
#import shared/kv_texture
#import shared/kv_q8
#import shared/q8_get
#import shared/kv_get_texture
#import shared/attention
#import shared/soft_cap
#import shared/quartet

fn dot_octet(k: Octet, low: vec4<f32>, high: vec4<f32>) -> f32 {
    return dot(k.low, low) + dot(k.high, high);
}

// An octet's products with eight keys, added to their sums.
fn add(
    sums: Octet,
    low: vec4<f32>,
    high: vec4<f32>,
    k0: Octet,
    k1: Octet,
    k2: Octet,
    k3: Octet,
    k4: Octet,
    k5: Octet,
    k6: Octet,
    k7: Octet,
) -> Octet {
    let near = vec4<f32>(
        dot_octet(k0, low, high),
        dot_octet(k1, low, high),
        dot_octet(k2, low, high),
        dot_octet(k3, low, high),
    );
    let far = vec4<f32>(
        dot_octet(k4, low, high),
        dot_octet(k5, low, high),
        dot_octet(k6, low, high),
        dot_octet(k7, low, high),
    );
    return Octet(sums.low + near, sums.high + far);
}

fn put(four: Quartet, i: u32, key: u32, sums: Octet) {
    if i >= four.n {
        return;
    }
    let near = vec4<u32>(key, key + 1u, key + 2u, key + 3u);
    let far = near + 4u;
    let position = vec4<u32>(four.positions[i]);
    let window = vec4<u32>(params.window);
    let lowest = vec4<f32>(LOWEST);
    let sees_near = (near <= position) & (position - near < window);
    let sees_far = (far <= position) & (position - far < window);
    let at = vec2<u32>(key / 4u, four.slots[i] * N_HEADS + four.heads[i]);
    let low = four_capped(params.scale * sums.low, params.soft_cap);
    let high = four_capped(params.scale * sums.high, params.soft_cap);
    textureStore(scores, at, select(lowest, low, sees_near));
    textureStore(scores, at + vec2<u32>(1u, 0u), select(lowest, high, sees_far));
}

// Keys past the last one repeat it.
fn eight_keys(four: Quartet, key: u32, last: u32) {
    var s0: Octet;
    var s1: Octet;
    var s2: Octet;
    var s3: Octet;
    let first = four.start + key;
    let end = four.start + last;
    for (var o = 0u; o < HEAD_OCTETS; o++) {
        let k0 = kv_get(params.cycle, KEY, four.kv_head, first, o);
        let k1 = kv_get(params.cycle, KEY, four.kv_head, min(first + 1u, end), o);
        let k2 = kv_get(params.cycle, KEY, four.kv_head, min(first + 2u, end), o);
        let k3 = kv_get(params.cycle, KEY, four.kv_head, min(first + 3u, end), o);
        let k4 = kv_get(params.cycle, KEY, four.kv_head, min(first + 4u, end), o);
        let k5 = kv_get(params.cycle, KEY, four.kv_head, min(first + 5u, end), o);
        let k6 = kv_get(params.cycle, KEY, four.kv_head, min(first + 6u, end), o);
        let k7 = kv_get(params.cycle, KEY, four.kv_head, min(first + 7u, end), o);
        let x = 2u * (four.heads * HEAD_OCTETS + o);
        let a0 = textureLoad(q, vec2<u32>(x.x, four.rows.x));
        let b0 = textureLoad(q, vec2<u32>(x.x + 1u, four.rows.x));
        let a1 = textureLoad(q, vec2<u32>(x.y, four.rows.y));
        let b1 = textureLoad(q, vec2<u32>(x.y + 1u, four.rows.y));
        let a2 = textureLoad(q, vec2<u32>(x.z, four.rows.z));
        let b2 = textureLoad(q, vec2<u32>(x.z + 1u, four.rows.z));
        let a3 = textureLoad(q, vec2<u32>(x.w, four.rows.w));
        let b3 = textureLoad(q, vec2<u32>(x.w + 1u, four.rows.w));
        s0 = add(s0, a0, b0, k0, k1, k2, k3, k4, k5, k6, k7);
        s1 = add(s1, a1, b1, k0, k1, k2, k3, k4, k5, k6, k7);
        s2 = add(s2, a2, b2, k0, k1, k2, k3, k4, k5, k6, k7);
        s3 = add(s3, a3, b3, k0, k1, k2, k3, k4, k5, k6, k7);
    }
    put(four, 0u, key, s0);
    put(four, 1u, key, s1);
    put(four, 2u, key, s2);
    put(four, 3u, key, s3);
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first_slot = group.y * ROWS_PER_TILE;
    if first_slot >= n_listed(params.list) {
        return;
    }
    let four = quartet(group.x % N_HEADS, first_slot);
    if four.n == 0u {
        return;
    }
    let n_keys = last_key(four.positions);
    let begin = begin_key(four.positions) + 8u * (group.x / N_HEADS * 8u + lane);
    for (var key = begin; key < n_keys; key += 64u * KEY_GROUPS) {
        eight_keys(four, key, n_keys - 1u);
    }
}
