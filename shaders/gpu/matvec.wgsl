// y[row] = epilogue(weights norm(x[row]) + bias), for few rows.
// One workgroup stands for eight outputs of one listed row, eight lanes for each output: together
// they read 128 neighbouring bytes of its weights (with f16) at a time.

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
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [row][2 n_in_octets]
@group(0) @binding(2) var<storage, read> weights: array<vec4<u32>>; // [row of weights][octets]
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>; // [output / 4]
@group(0) @binding(4) var<storage, read> rows: array<u32>; // see `shared/rows`
@group(0) @binding(5) var<storage, read_write> y: array<f32>; // [row][y_stride]
@group(0) @binding(6) var<storage, read> norm: array<vec4<f32>>; // [weights, biases][2 n_in_octets]

override EPILOGUE: u32 = 0u; // 0 none, 1 GELU (tanh), 2 SwiGLU of (gate, up) pairs
override NORM: u32 = 0u; // 0 none, 1 RMS, 2 layer
override WEIGHT_FORMAT: u32 = 0u; // 0 f32, 1 f16, 2 bf16, 3 q8_0, 4 q4_0

#import shared/rows
#import shared/linear
#import shared/store_rows
#import shared/sum_of_eight
#import shared/normed
#import shared/octet
#import shared/weights
#import shared/workgroup_sum
#import shared/matvec

var<workgroup> eights: array<vec2<f32>, 64>;
var<workgroup> lane_values: array<f32, 64>;
var<workgroup> totals: array<f32, 8>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let n = 8u * group.x;
    if group.y >= n_listed(params.list) || n >= params.n_out {
        return;
    }
    let row = listed(params.list, group.y);
    let octets = params.n_in_octets;
    let x_row = 2u * row * octets;
    // Outputs past the end repeat the last row of the weights; `store` drops them.
    let output = min(n + lane / LANES_PER_OUTPUT, params.n_out - 1u);
    let w_row = params.weight_row + output;
    let moments = moments(x_row, lane);
    var sum = vec4<f32>();
    var squares = vec4<f32>();
    for (var k = lane % LANES_PER_OUTPUT; k < octets; k += LANES_PER_OUTPUT) {
        let low = x[x_row + 2u * k];
        let high = x[x_row + 2u * k + 1u];
        if NORM == 1u {
            squares = fma(low, low, fma(high, high, squares));
        }
        let w = weight_octet(w_row, k, octets);
        sum = fma(w.low, normed(2u * k, low, moments), sum);
        sum = fma(w.high, normed(2u * k + 1u, high, moments), sum);
    }
    // Every output's lanes have seen all of x between them.
    let sums = sum_of_eight(vec2<f32>(lanes_sum(sum), lanes_sum(squares)), lane);
    if lane % LANES_PER_OUTPUT == 0u {
        totals[lane / LANES_PER_OUTPUT] = sums.x * rms_scale(sums.y);
    }
    workgroupBarrier();
    if lane == 0u {
        let low = vec4<f32>(totals[0], totals[1], totals[2], totals[3]);
        let high = vec4<f32>(totals[4], totals[5], totals[6], totals[7]);
        store(row, n, low, high);
    }
}
