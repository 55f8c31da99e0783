// out[row][head] from the partial outputs of split-K `attention` and `attention_subgroup`.
// One invocation stands for eight values of one head of a listed row.

struct Params {
    head_dim: u32,
    list: u32,
    // Keys that a row sees, its own counted.
    window: u32,
    // Where the zero attention goes.
    middle_layer: u32,
    n_middle_layers: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [listed row][split][head], each as `part_of` says.
@group(0) @binding(1) var<storage, read> parts: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> rows: array<u32>; // see `shared/rows`
@group(0) @binding(3) var<storage, read_write> out: array<f32>; // see `out_at`
@group(0) @binding(4) var<storage, read_write> zeros: array<f32>; // [row][middle layer][head]

override N_HEADS: u32 = 1u;
override HEAD_OCTETS: u32 = 8u;
override N_SPLITS: u32 = 1u; // splits of a full KV cache
override SPLIT_KEYS: u32 = 64u; // keys of a split
override HAS_ZERO: u32 = 0u; // 1: there is a zero token
override WRITES_ZEROS: u32 = 0u; // 1: zero attention is written

#import shared/rows
#import shared/attention

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
) {
    let head = id.x / HEAD_OCTETS;
    if group.y >= n_listed(params.list) || head >= N_HEADS {
        return;
    }
    let octet = id.x % HEAD_OCTETS;
    let row = listed(params.list, group.y);
    let position = position_of(row);
    let splits = group.y * N_SPLITS;
    let first = splits + first_key(position) / SPLIT_KEYS;
    let last = splits + position / SPLIT_KEYS;
    var maximum = LOWEST;
    for (var split = first; split <= last; split++) {
        maximum = max(maximum, parts[part_of(split, head) + 2u * HEAD_OCTETS].x);
    }
    var sum = 0.0;
    var low = vec4<f32>();
    var high = vec4<f32>();
    for (var split = first; split <= last; split++) {
        let at = part_of(split, head);
        let state = parts[at + 2u * HEAD_OCTETS];
        let weight = exp(state.x - maximum);
        sum = fma(weight, state.y, sum);
        low = fma(vec4<f32>(weight), parts[at + 2u * octet], low);
        high = fma(vec4<f32>(weight), parts[at + 2u * octet + 1u], high);
    }
    low /= sum;
    high /= sum;
    let to = out_at(row, head, params.head_dim);
    for (var i = 0u; i < 4u; i++) {
        let d = 8u * octet + i;
        if d < params.head_dim {
            out[to + d] = low[i];
        }
        if d + 4u < params.head_dim {
            out[to + d + 4u] = high[i];
        }
    }
    if WRITES_ZEROS == 1u && octet == 0u {
        let score = parts[part_of(first, head) + 2u * HEAD_OCTETS].z;
        let zero = select(0.0, exp(score - maximum) / sum, HAS_ZERO == 1u);
        zeros[(row * params.n_middle_layers + params.middle_layer) * N_HEADS + head] = zero;
    }
}
