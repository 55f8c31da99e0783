// Outputs of a linear map for few rows: weights norm(x[row]) + bias, which become values of y or
// queries, keys and values. One workgroup stands for eight outputs of one listed row, eight lanes
// for each output, which exchange their sums through workgroup memory.

struct Params {
    n_in_octets: u32,
    // Outputs of this matrix, and the first row of `weights` that is used, a multiple of eight.
    n_out: u32,
    weight_row: u32,
    // Which of the whole map's outputs the first one is, a multiple of eight.
    first_output: u32,
    list: u32,
    // Of the norm: inputs without their padding, and what is added to their variance.
    n_cols: u32,
    eps: f32,
    // Of rows of outputs: values from one row of `y` to the next.
    y_stride: u32,
    // Of keys and values: places of the cache, and the cycles that are written.
    kv_places: u32,
    first_cycle: u32,
    n_cycles: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [row][2 n_in_octets]
@group(0) @binding(2) var<storage, read> weights: array<vec4<u32>>; // see `shared/weights`
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>; // [output / 4]
@group(0) @binding(4) var<storage, read> rows: array<u32>; // see `shared/rows`
// [row][y_stride] of outputs, or [row][head][8 HEAD_OCTETS] of queries
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<storage, read> angles: array<vec4<f32>>; // [position][pair] cos, sin
@group(0) @binding(7) var<storage, read_write> kv: array<vec4<u32>>; // see `shared/kv_buffer`
@group(0) @binding(8) var<storage, read> norm: array<vec4<f32>>; // [weights, biases][2 n_in_octets]

override WEIGHT_FORMAT: u32 = 0u; // 0 f32, 1 f16, 2 bf16, 3 q8_0, 4 q4_0
override NORM: u32 = 0u; // 0 none, 1 RMS, 2 layer
override OUTPUT: u32 = 0u; // 0 rows of y, 1 queries, keys and values
override HAS_BIAS: u32 = 0u;
// Of rows of y: the function of the outputs, and 1 to add to the old values (the residual stream).
override EPILOGUE: u32 = 0u; // 0 none, 1 GELU (tanh), 2 SwiGLU of (gate, up) pairs
override ACCUMULATE: u32 = 0u;
// Of queries, keys and values: the cache's format, heads, octets of a head, and rotary angles.
override KV_FORMAT: u32 = 0u; // 0 f32 (two vec4<u32> an octet), 1 f16 (one)
override N_HEADS: u32 = 1u;
override N_KV_HEADS: u32 = 1u;
override HEAD_OCTETS: u32 = 8u;
override HAS_ROPE: u32 = 0u;

#import shared/rows
#import shared/octet
#import shared/weight_format
#import shared/weights
#import shared/normed
#import shared/workgroup_sum
#import shared/matvec
#import shared/kv_buffer
#import shared/qkv_put_buffer
#import shared/qkv
#import shared/outputs

var<workgroup> lane_values: array<f32, 64>; // of `workgroup_sum`
var<workgroup> totals: array<f32, 8>; // [output]
var<workgroup> eights: array<vec2<f32>, 64>; // [lane]

// Sums over eight neighbouring lanes, in a fixed order. Every lane must call it, and every lane
// gets the sums of its eight.
fn sum_of_eight(values: vec2<f32>, lane: u32) -> vec2<f32> {
    eights[lane] = values;
    workgroupBarrier();
    let first = lane / 8u * 8u;
    var sums = eights[first];
    for (var i = 1u; i < 8u; i++) {
        sums += eights[first + i];
    }
    workgroupBarrier();
    return sums;
}

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
    let sums = sum_of_eight(lane_sums(row, n, lane), lane);
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
