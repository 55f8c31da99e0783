// out[lane] = lane + n_steps modulo 64, by handing values to the neighbour through shared memory.
// One workgroup stands for the whole.
// Each step has two barriers, which every lane reaches.

#import shared/probe_params

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
