// out[row][head] = softmax over the zero token and the keys that the row sees, applied to their
// values, for a row that is alone in its batch. A workgroup stands for a head of a listed row, a
// lane for an octet of it: neighbours read adjacent texels.

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
@group(0) @binding(5) var<storage, read_write> out: array<f32>; // see `out_at`
@group(0) @binding(6) var<storage, read_write> zeros: array<f32>; // [row][middle layer][head]

override SUBGROUP_LANES: u32 = 4u; // lanes that are sure to share a subgroup, 4 or 8
override KV_FORMAT: u32 = 0u; // 0 f32 (two vec4<u32> an octet), 1 f16 (one), 2 q8_0
override N_HEADS: u32 = 1u;
override N_KV_HEADS: u32 = 1u;
override HEAD_OCTETS: u32 = 8u;
override HAS_ZERO: u32 = 0u; // 1: there is a zero token
override SOFT_CAP: u32 = 0u; // 1: scores have a soft cap
override WRITES_ZEROS: u32 = 0u; // 1: zero attention is written

#import shared/rows
#import shared/octet
#import shared/lanes
#import shared/kv_texture
#import shared/kv_q8
#import shared/q8_get
#import shared/kv_get_texture
#import shared/attention
#import shared/soft_cap

fn query_octet(row: u32, head: u32, octet: u32) -> Octet {
    let x = 2u * (head * HEAD_OCTETS + octet);
    let first = textureLoad(q, vec2<u32>(x, row));
    return Octet(first, textureLoad(q, vec2<u32>(x + 1u, row)));
}

fn pool_octet(head: u32, octet: u32, row: u32) -> Octet {
    let x = 2u * (head * params.pool_heads / N_HEADS * HEAD_OCTETS + octet);
    let first = textureLoad(pool, vec2<u32>(x, row));
    return Octet(first, textureLoad(pool, vec2<u32>(x + 1u, row)));
}

fn dot_octets(a: Octet, b: Octet) -> f32 {
    return dot(a.low, b.low) + dot(a.high, b.high);
}

fn zero_score(row: u32, head: u32, lane: u32) -> f32 {
    var sum = 0.0;
    for (var octet = lane; octet < HEAD_OCTETS; octet += SUBGROUP_LANES) {
        sum += dot_octets(query_octet(row, head, octet), pool_octet(head, octet, params.zero_key));
    }
    return capped(params.scale * sum_over_lanes(sum), params.soft_cap);
}

// The query's scores of SUBGROUP_LANES keys from `first` on, of which those past `last` repeat it.
// A lane gets that of the key that its number says.
fn scores(row: u32, head: u32, first: u32, last: u32, lane: u32, query: Octet) -> f32 {
    let kv_head = head / (N_HEADS / N_KV_HEADS);
    var own = 0.0;
    var octets = 0u;
    loop {
        let octet = octets + lane;
        let is_inside = octet < HEAD_OCTETS;
        let present = min(octet, HEAD_OCTETS - 1u);
        var q_octet = query;
        if octets > 0u {
            q_octet = query_octet(row, head, present);
        }
        for (var i = 0u; i < SUBGROUP_LANES; i++) {
            let key = kv_get(params.cycle, KEY, kv_head, min(first + i, last), present);
            let product = select(0.0, dot_octets(q_octet, key), is_inside);
            own += select(0.0, sum_over_lanes(product), i == lane);
        }
        octets += SUBGROUP_LANES;
        if octets >= HEAD_OCTETS {
            break;
        }
    }
    return capped(params.scale * own, params.soft_cap);
}

// The softmax is online: a running maximum and sum are kept. The zero token seeds them: maximum =
// its score, sum = 1, output = its value. SUBGROUP_LANES keys at a time are scored, after which
// each lane has the score of one. Loops over keys and their octets break at their end, as in
// `matvec_texture`.
@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    if group.y >= n_listed(params.list) {
        return;
    }
    let lane = subgroup_lane % SUBGROUP_LANES;
    let row = listed(params.list, group.y);
    let head = group.x % N_HEADS;
    let kv_head = head / (N_HEADS / N_KV_HEADS);
    let octet = group.x / N_HEADS * 8u + invocation;
    // Lanes past the end work for the others.
    let own_octet = min(octet, HEAD_OCTETS - 1u);

    var maximum = LOWEST;
    var sum = 0.0;
    var output = Octet();
    var seed = LOWEST;
    if HAS_ZERO == 1u {
        seed = zero_score(row, head, lane);
        maximum = seed;
        sum = 1.0;
        output = pool_octet(head, own_octet, params.zero_value);
    }
    let query = query_octet(row, head, min(lane, HEAD_OCTETS - 1u));
    let start = cache_start_of(row);
    let position = position_of(row);
    let last = start + position;
    var key = first_key(position);
    loop {
        let first = start + key;
        let score = scores(row, head, first, last, lane, query);
        let is_seen = first + lane <= last;
        let before = maximum;
        maximum = max(maximum, max_over_lanes(select(LOWEST, score, is_seen)));
        let weight = select(0.0, exp(score - maximum), is_seen);
        let shrink = exp(before - maximum);
        sum = fma(shrink, sum, sum_over_lanes(weight));
        output.low *= shrink;
        output.high *= shrink;
        for (var i = 0u; i < SUBGROUP_LANES; i++) {
            let value = kv_get(params.cycle, VALUE, kv_head, min(first + i, last), own_octet);
            let w = from_lane(vec4<f32>(weight), i);
            output.low = fma(w, value.low, output.low);
            output.high = fma(w, value.high, output.high);
        }
        key += SUBGROUP_LANES;
        if key > position {
            break;
        }
    }
    if octet >= HEAD_OCTETS {
        return;
    }
    let to = out_at(row, head, params.head_dim);
    for (var j = 0u; j < 4u; j++) {
        let d = 8u * octet + j;
        if d < params.head_dim {
            out[to + d] = output.low[j] / sum;
        }
        if d + 4u < params.head_dim {
            out[to + d + 4u] = output.high[j] / sum;
        }
    }
    if WRITES_ZEROS == 1u && octet == 0u {
        let zero = select(0.0, exp(seed - maximum) / sum, HAS_ZERO == 1u);
        let at = row * params.n_middle_layers + params.middle_layer;
        zeros[at * N_HEADS + head] = zero;
    }
}
