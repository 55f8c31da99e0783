// y[row] = x[row] / sqrt(mean(x[row]^2) + eps) * weight
// One workgroup stands for one listed row.
// Rows of x and y have `stride` values, of which n_cols are used.

struct Params {
    n_cols: u32,
    stride: u32,
    list: u32,
    // 1: the i-th listed row of x goes to row i of y.
    dense: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [row][stride]
@group(0) @binding(2) var<storage, read> norm: array<f32>; // [n_cols]
@group(0) @binding(3) var<storage, read> rows: array<u32>; // see `shared/rows`
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [row][stride]

override WORKGROUP_SIZE: u32 = 64u; // a power of two

#import shared/rows
#import shared/workgroup_sum

var<workgroup> lane_values: array<f32, WORKGROUP_SIZE>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    if group.y >= n_listed(params.list) {
        return;
    }
    let row = listed(params.list, group.y);
    let start = row * params.stride;
    let to = select(row, group.y, params.dense == 1u) * params.stride;
    var squares = 0.0;
    for (var i = lane; i < params.n_cols; i += WORKGROUP_SIZE) {
        squares = fma(x[start + i], x[start + i], squares);
    }
    let mean = workgroup_sum(squares, lane) / f32(params.n_cols);
    let scale = 1.0 / sqrt(mean + params.eps);
    for (var i = lane; i < params.n_cols; i += WORKGROUP_SIZE) {
        y[to + i] = x[start + i] * scale * norm[i];
    }
}
