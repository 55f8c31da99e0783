// out[row][head] = softmax over the zero token and the keys that the row sees, applied to their
// values, with everything in textures. For a row that is alone in its batch: decoding.
//
// A workgroup stands for a head of a listed row, a lane for an octet of it: neighbours read
// adjacent texels. LANES keys at a time are scored, after which each lane has the score of one.
// The softmax is online: a running maximum and sum are kept. The zero token seeds them: maximum =
// its score, sum = 1, output = its value.
//
// Loops over keys and their octets break at their end, as in `matvec_texture`.

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
@group(0) @binding(1) var q: texture_storage_2d<rgba32float, read>; // [row][head, 2 head_octets]
@group(0) @binding(2) var kv: texture_storage_2d_array<rgba32uint, read>; // see `shared/kv_cache`
// [key or value of a row][head, 2 head_octets]
@group(0) @binding(3) var pool: texture_storage_2d<rgba32float, read>;
@group(0) @binding(4) var<storage, read> rows: array<u32>; // see `shared/rows`
@group(0) @binding(5) var<storage, read_write> out: array<f32>; // [row][out_stride]
@group(0) @binding(6) var<storage, read_write> zeros: array<f32>; // [row][layer][head]

override KV_FORMAT: u32 = 0u; // 0 f32 (two vec4<u32> an octet), 1 f16 (one)
// Lanes that are sure to be in one subgroup, 4 or 8.
override LANES: u32 = 4u;

#import shared/attention
#import shared/rows
#import shared/kv_cache
#import shared/kv_get_texture
#import shared/lanes

fn query_octet(row: u32, head: u32, octet: u32) -> KvOctet {
    let x = 2u * (head * params.head_octets + octet);
    let first = textureLoad(q, vec2<u32>(x, row));
    return KvOctet(first, textureLoad(q, vec2<u32>(x + 1u, row)));
}

fn pool_octet(head: u32, octet: u32, row: u32) -> KvOctet {
    let x = 2u * (head * params.pool_heads / params.n_heads * params.head_octets + octet);
    let first = textureLoad(pool, vec2<u32>(x, row));
    return KvOctet(first, textureLoad(pool, vec2<u32>(x + 1u, row)));
}

fn dot_octets(a: KvOctet, b: KvOctet) -> f32 {
    return dot(a.low, b.low) + dot(a.high, b.high);
}

fn zero_score(row: u32, head: u32, lane: u32) -> f32 {
    var sum = 0.0;
    for (var octet = lane; octet < params.head_octets; octet += LANES) {
        sum += dot_octets(query_octet(row, head, octet), pool_octet(head, octet, params.zero_key));
    }
    return params.scale * sum_over_lanes(sum);
}

// The query's scores of LANES keys from `first` on, of which those past `last` repeat it. A lane
// gets that of the key that its number says.
fn scores(row: u32, head: u32, first: u32, last: u32, lane: u32, query: KvOctet) -> f32 {
    let kv_head = head / (params.n_heads / params.n_kv_heads);
    var own = 0.0;
    var octets = 0u;
    loop {
        let octet = octets + lane;
        let is_inside = octet < params.head_octets;
        let present = min(octet, params.head_octets - 1u);
        var q_octet = query;
        if octets > 0u {
            q_octet = query_octet(row, head, present);
        }
        for (var i = 0u; i < LANES; i++) {
            let key = kv_get(params.cycle, KEY, kv_head, min(first + i, last), present);
            let product = select(0.0, dot_octets(q_octet, key), is_inside);
            own += select(0.0, sum_over_lanes(product), i == lane);
        }
        octets += LANES;
        if octets >= params.head_octets {
            break;
        }
    }
    return params.scale * own;
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    if group.y >= n_listed(params.list) {
        return;
    }
    let lane = subgroup_lane % LANES;
    let row = listed(params.list, group.y);
    let head = group.x % params.n_heads;
    let kv_head = head / (params.n_heads / params.n_kv_heads);
    let octet = group.x / params.n_heads * 8u + invocation;
    // Lanes past the end work for the others.
    let own_octet = min(octet, params.head_octets - 1u);

    var maximum = LOWEST;
    var sum = 0.0;
    var output = KvOctet();
    var seed = LOWEST;
    if params.has_zero == 1u {
        seed = zero_score(row, head, lane);
        maximum = seed;
        sum = 1.0;
        output = pool_octet(head, own_octet, params.zero_value);
    }
    let query = query_octet(row, head, min(lane, params.head_octets - 1u));
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
        for (var i = 0u; i < LANES; i++) {
            let value = kv_get(params.cycle, VALUE, kv_head, min(first + i, last), own_octet);
            let w = from_lane(vec4<f32>(weight), i);
            output.low = fma(w, value.low, output.low);
            output.high = fma(w, value.high, output.high);
        }
        key += LANES;
        if key > position {
            break;
        }
    }
    if octet >= params.head_octets {
        return;
    }
    let to = row * params.out_stride + head * params.head_dim;
    for (var j = 0u; j < 4u; j++) {
        let d = 8u * octet + j;
        if d < params.head_dim {
            out[to + d] = output.low[j] / sum;
        }
        if d + 4u < params.head_dim {
            out[to + d + 4u] = output.high[j] / sum;
        }
    }
    if params.writes_zeros == 1u && octet == 0u {
        let zero = select(0.0, exp(seed - maximum) / sum, params.has_zero == 1u);
        zeros[(row * params.n_layers + params.layer) * params.n_heads + head] = zero;
    }
}
