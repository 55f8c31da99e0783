// out[lane] = the mean of 64 values, taken n_steps times through shared memory.
// One workgroup stands for the whole.
// Each step needs the one before it, so that steps cannot overlap.

struct Params {
    n_steps: u32,
    lane_step: u32,
    step: u32,
    stream_step: u32,
    seed: u32,
    // Factor and term of multiply-adds.
    a: f32,
    b: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<f32>; // [64]

#import shared/workgroup_sum

const WORKGROUP_SIZE: u32 = 64u;

var<workgroup> lane_values: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    var value = f32(lane);
    for (var i = 0u; i < params.n_steps; i++) {
        value = workgroup_sum(value, lane) / f32(WORKGROUP_SIZE);
    }
    out[lane] = value;
}
