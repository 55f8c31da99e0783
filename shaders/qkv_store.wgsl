// Splits a projected row into queries, keys and values, turns queries and keys by the rotary
// angles of the row's position, and writes keys and values to the cache of the given cycles.
// One invocation stands for two neighbouring dimensions of one head of one row.

struct Params {
    n_heads: u32,
    n_kv_heads: u32,
    head_dim: u32,
    head_stride: u32, // head_dim padded to octets; the padding is zero
    qkv_stride: u32,
    n_ctx: u32,
    // Pairs of a head that are turned, head_dim / 2, or 0 without rotary embedding.
    n_pairs: u32,
    list: u32,
    first_cycle: u32,
    n_cycles: u32,
    // 0: keys and values alone.
    with_queries: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<f32>;        // [row][qkv_stride]
@group(0) @binding(2) var<storage, read> angles: array<vec2<f32>>; // [position][pair] cos, sin
@group(0) @binding(3) var<storage, read> rows: array<u32>;
@group(0) @binding(4) var<storage, read_write> q: array<vec2<f32>>; // [row][head][head_stride / 2]
@group(0) @binding(5) var<storage, read_write> kv: array<u32>;

#import shared/rows
#import shared/kv_cache

// Dimension d of the head that begins at `head`, turned.
fn turned(head: u32, d: u32, position: u32) -> f32 {
    if d >= params.head_dim {
        return 0.0;
    }
    let n = params.n_pairs;
    if n == 0u {
        return qkv[head + d];
    }
    let angle = angles[position * n + d % n];
    if d < n {
        return qkv[head + d] * angle.x - qkv[head + d + n] * angle.y;
    }
    return qkv[head + d] * angle.x + qkv[head + d - n] * angle.y;
}

fn plain(head: u32, d: u32) -> f32 {
    return select(0.0, qkv[head + min(d, params.head_dim - 1u)], d < params.head_dim);
}

fn write_kv(element: u32, pair: vec2<f32>) {
    if KV_FORMAT == 1u {
        kv[element / 2u] = pack2x16float(clamp(pair, vec2<f32>(-65504.0), vec2<f32>(65504.0)));
    } else {
        kv[element] = bitcast<u32>(pair.x);
        kv[element + 1u] = bitcast<u32>(pair.y);
    }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
) {
    let pairs = params.head_stride / 2u;
    let head = id.x / pairs;
    let d = 2u * (id.x % pairs);
    if group.y >= n_listed(params.list) || head >= params.n_heads + 2u * params.n_kv_heads {
        return;
    }
    let row = listed(params.list, group.y);
    let position = position_of(row);
    let start = row * params.qkv_stride + head * params.head_dim;
    if head < params.n_heads {
        if params.with_queries == 1u {
            let pair = vec2<f32>(turned(start, d, position), turned(start, d + 1u, position));
            q[(row * params.n_heads + head) * pairs + d / 2u] = pair;
        }
        return;
    }
    var part = KEY;
    var kv_head = head - params.n_heads;
    var pair: vec2<f32>;
    if kv_head < params.n_kv_heads {
        pair = vec2<f32>(turned(start, d, position), turned(start, d + 1u, position));
    } else {
        part = VALUE;
        kv_head -= params.n_kv_heads;
        pair = vec2<f32>(plain(start, d), plain(start, d + 1u));
    }
    for (var i = 0u; i < params.n_cycles; i++) {
        write_kv(kv_row(params.first_cycle + i, part, kv_head, position) + d, pair);
    }
}
