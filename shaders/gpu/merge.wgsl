// out[row][head] from the partial outputs of split-K `attention`.
// One invocation stands for eight values of one head of a listed row.

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
@group(0) @binding(1) var<storage, read> parts: array<vec4<f32>>; // see `part_of`
@group(0) @binding(2) var<storage, read> rows: array<u32>; // see `shared/rows`
@group(0) @binding(3) var<storage, read_write> out: array<f32>; // [row][out_stride]
@group(0) @binding(4) var<storage, read_write> zeros: array<f32>; // [row][layer][head]

#import shared/attention
#import shared/split
#import shared/rows

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
) {
    let octets = params.head_octets;
    let head = id.x / octets;
    if group.y >= n_listed(params.list) || head >= params.n_heads {
        return;
    }
    let octet = id.x % octets;
    let row = listed(params.list, group.y);
    let position = position_of(row);
    let first = first_key(position) / params.split_keys;
    let last = position / params.split_keys;
    var maximum = LOWEST;
    for (var split = first; split <= last; split++) {
        maximum = max(maximum, parts[part_of(group.y, split, head) + 2u * octets].x);
    }
    var sum = 0.0;
    var low = vec4<f32>();
    var high = vec4<f32>();
    for (var split = first; split <= last; split++) {
        let at = part_of(group.y, split, head);
        let state = parts[at + 2u * octets];
        let weight = exp(state.x - maximum);
        sum = fma(weight, state.y, sum);
        low = fma(vec4<f32>(weight), parts[at + 2u * octet], low);
        high = fma(vec4<f32>(weight), parts[at + 2u * octet + 1u], high);
    }
    low /= sum;
    high /= sum;
    let to = row * params.out_stride + head * params.head_dim;
    for (var i = 0u; i < 4u; i++) {
        let d = 8u * octet + i;
        if d < params.head_dim {
            out[to + d] = low[i];
        }
        if d + 4u < params.head_dim {
            out[to + d + 4u] = high[i];
        }
    }
    if params.writes_zeros == 1u && octet == 0u {
        let score = parts[part_of(group.y, first, head) + 2u * octets].z;
        let zero = select(0.0, exp(score - maximum) / sum, params.has_zero == 1u);
        zeros[(row * params.n_layers + params.layer) * params.n_heads + head] = zero;
    }
}
