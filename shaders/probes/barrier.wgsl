// out[lane] = lane + n_steps modulo 64, by handing values to the neighbour through shared memory.
// One workgroup stands for the whole.
// Each step has two barriers, which every lane reaches.

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
@group(0) @binding(1) var<storage, read_write> out: array<u32>; // [64]

var<workgroup> values: array<u32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    var value = lane;
    for (var i = 0u; i < params.n_steps; i++) {
        values[lane] = value;
        workgroupBarrier();
        value = values[(lane + 1u) % 64u];
        workgroupBarrier();
    }
    out[lane] = value;
}
