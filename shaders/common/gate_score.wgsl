// The score of a cycle from a learned gate: the chance that a cycle so far has let the row leave;
// 1 at the last cycle that the row may run. One workgroup stands for one listed row. Rows of x have
// `stride` values, of which n_cols are used.

struct Params {
    n_cols: u32,
    stride: u32,
    cycle: u32,
    n_cycles: u32,
    list: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [row][stride]
@group(0) @binding(2) var<storage, read> exit_gate: array<f32>; // [weights, bias][stride]
@group(0) @binding(3) var<storage, read> rows: array<u32>; // see `shared/rows`
@group(0) @binding(4) var<storage, read_write> progress: array<f32>; // [row][cycles run, scores]

override WORKGROUP_SIZE: u32 = 64u; // a power of two

#import shared/rows
#import shared/workgroup_sum

var<workgroup> lane_values: array<f32, WORKGROUP_SIZE>;

// `logit` is the gate's own; `progress` has the score of the cycle before at `at` - 1.
fn score(row: u32, at: u32, logit: f32) -> f32 {
    let n_run = params.cycle + 1u;
    if n_run >= min(params.n_cycles, max_cycles_of(row)) {
        return 1.0;
    }
    var survival = 1.0;
    if params.cycle > 0u {
        survival -= progress[at - 1u];
    }
    // 1 - sigmoid(logit); beyond 80 it is 0 in all but name.
    return 1.0 - survival / (1.0 + exp(min(logit, 80.0)));
}

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
    var products = 0.0;
    for (var i = lane; i < params.n_cols; i += WORKGROUP_SIZE) {
        products = fma(x[start + i], exit_gate[i], products);
    }
    let logit = workgroup_sum(products, lane) + exit_gate[params.stride];
    if lane == 0u {
        let at = row * (1u + params.n_cycles) + 1u + params.cycle;
        progress[at] = score(row, at, logit);
    }
}
