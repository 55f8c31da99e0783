// x[row] += m branch[row], x[row] += m norm(branch[row]), x[row] = norm(x[row] + m branch[row]) or
// x[row] = norm(x[row]): how a branch of a block enters the residual stream. One workgroup stands
// for one listed row. Rows have `stride` values, of which n_cols are used.

struct Params {
    n_cols: u32,
    stride: u32,
    list: u32,
    eps: f32,
    multiplier: f32, // m
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> branch: array<f32>; // [row][stride]
// Weights; of layer norm [weights, biases][stride].
@group(0) @binding(2) var<storage, read> norm: array<f32>;
@group(0) @binding(3) var<storage, read> rows: array<u32>; // see `shared/rows`
@group(0) @binding(4) var<storage, read_write> x: array<f32>; // [row][stride]

override WORKGROUP_SIZE: u32 = 64u; // a power of two
override PLACE: u32 = 0u; // of the norm: 0 none, 1 on the branch, 2 on the sum, 3 without a branch
override NORM: u32 = 0u; // 0 none, 1 RMS, 2 layer

#import shared/rows
#import shared/workgroup_sum

var<workgroup> lane_values: array<f32, WORKGROUP_SIZE>;

// A value that is normed: of the branch, or of the residual stream.
fn value_at(i: u32) -> f32 {
    if PLACE == 1u {
        return branch[i];
    }
    return x[i];
}

// Mean and 1 / deviation of a row; for RMS 0 and 1 / root mean square. Every lane must call it.
fn moments(start: u32, lane: u32) -> vec2<f32> {
    var mean = 0.0;
    if NORM == 2u {
        var sum = 0.0;
        for (var i = lane; i < params.n_cols; i += WORKGROUP_SIZE) {
            sum += value_at(start + i);
        }
        mean = workgroup_sum(sum, lane) / f32(params.n_cols);
    }
    var squares = 0.0;
    for (var i = lane; i < params.n_cols; i += WORKGROUP_SIZE) {
        let d = value_at(start + i) - mean;
        squares = fma(d, d, squares);
    }
    let variance = workgroup_sum(squares, lane) / f32(params.n_cols);
    return vec2<f32>(mean, 1.0 / sqrt(variance + params.eps));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    if group.y >= n_listed(params.list) {
        return;
    }
    let start = listed(params.list, group.y) * params.stride;
    if PLACE == 0u || PLACE == 2u {
        for (var i = lane; i < params.n_cols; i += WORKGROUP_SIZE) {
            x[start + i] += params.multiplier * branch[start + i];
        }
    }
    if PLACE == 0u {
        return;
    }
    // Each lane reads what it wrote itself.
    let of_row = moments(start, lane);
    for (var i = lane; i < params.n_cols; i += WORKGROUP_SIZE) {
        var value = (value_at(start + i) - of_row.x) * of_row.y * norm[i];
        if NORM == 2u {
            value += norm[params.stride + i];
        }
        if PLACE == 1u {
            x[start + i] += params.multiplier * value;
        } else {
            x[start + i] = value;
        }
    }
}
