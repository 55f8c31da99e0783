// y[row] = epilogue(weights norm(x[row]) + bias), for one row, weights in a texture.
// One invocation stands for eight outputs of the one listed row; the uniform buffers begin with its
// x and its norm. Of LANES octets of x, each lane loads and norms one.

struct Params {
    n_in_octets: u32,
    // Outputs of this matrix, and the first row of `weights` that is used, a multiple of eight.
    n_out: u32,
    weight_row: u32,
    // Which of the whole map's outputs the first one is, a multiple of eight.
    first_output: u32,
    list: u32,
    has_bias: u32,
    // The norm that inputs pass first (`shared/normed`): their number without the padding.
    n_cols: u32,
    eps: f32,
    // Where rows of outputs go (`shared/store_rows`): values of a row of `y`, and 1 to add to its
    // old values (the residual stream).
    y_stride: u32,
    accumulate: u32,
    // Where queries, keys and values go (`shared/store_qkv`).
    n_heads: u32,
    n_kv_heads: u32,
    head_octets: u32,
    has_rope: u32,
    kv_places: u32,
    first_cycle: u32,
    n_cycles: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> x: array<vec4<f32>, 4096>; // [2 n_in_octets], at most 64 KiB
// See `shared/weights_texture`
@group(0) @binding(2) var weights: texture_storage_2d<rgba32uint, read>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>; // [output / 4]
@group(0) @binding(4) var<storage, read> rows: array<u32>; // see `shared/rows`
@group(0) @binding(5) var<storage, read_write> y: array<f32>; // [row][y_stride]
@group(0) @binding(6) var<uniform> norm: array<vec4<f32>, 4096>; // [weights, biases][2 n_in_octets]

override EPILOGUE: u32 = 0u; // 0 none, 1 GELU (tanh), 2 SwiGLU of (gate, up) pairs
override NORM: u32 = 0u; // 0 none, 1 RMS, 2 layer
override WEIGHT_FORMAT: u32 = 0u; // 0 f32, 1 f16, 2 bf16, 3 q8_0, 4 q4_0
// Lanes that are sure to be in one subgroup, 4 or 8.
override LANES: u32 = 4u;

#import shared/rows
#import shared/linear
#import shared/store_rows
#import shared/normed
#import shared/octet
#import shared/lanes
#import shared/weights_texture
#import shared/quad
#import shared/matvec_texture

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    if group.y >= n_listed(params.list) {
        return;
    }
    let lane = subgroup_lane % LANES;
    let n = 8u * id.x;
    let low_place = place_of(params.weight_row + present_output(n));
    let high_place = low_place + vec2<u32>(4u, 0u);
    let moments = moments(lane);
    var low = vec4<f32>();
    var high = vec4<f32>();
    var squares = vec4<f32>();
    var first = 0u;
    loop {
        let own = x_octet(first, lane);
        if NORM == 1u {
            squares = fma(own.low, own.low, fma(own.high, own.high, squares));
        }
        let ready = normed_octet(own, first + lane, moments);
        let end = min(LANES, params.n_in_octets - first);
        var i = 0u;
        loop {
            let step = (first + i) / octets_a_step();
            low = add_part(low, quad_texels(low_place, step, 0u), ready, i);
            high = add_part(high, quad_texels(high_place, step, 0u), ready, i);
            if parts_a_step() == 2u {
                let next = i + octets_a_part();
                low = add_part(low, quad_texels(low_place, step, 1u), ready, next);
                high = add_part(high, quad_texels(high_place, step, 1u), ready, next);
            }
            i += octets_a_step();
            if i >= end {
                break;
            }
        }
        first += LANES;
        if first >= params.n_in_octets {
            break;
        }
    }
    let scale = rms_scale(sum_over_lanes(lanes_sum(squares)));
    if n < params.n_out {
        store(listed(params.list, group.y), n, scale * low, scale * high);
    }
}
