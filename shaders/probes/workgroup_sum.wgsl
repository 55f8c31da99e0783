// out[lane] = the mean of 64 values, taken n_steps times through shared memory.
// One workgroup stands for the whole.
// Each step needs the one before it, so that steps cannot overlap.

#import shared/probe_params

@group(0) @binding(1) var<storage, read_write> out: array<f32>; // [64]

#import shared/workgroup_sum

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    var value = f32(lane);
    for (var i = 0u; i < params.n_steps; i++) {
        value = workgroup_sum(value, lane) / f32(LANES);
    }
    out[lane] = value;
}
