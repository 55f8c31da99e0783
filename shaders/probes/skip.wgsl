// out[invocation] += 1, unless the flag says that nothing is to be done.
// One invocation stands for one value.
// The flag is read from memory, as a skipped cycle would read its state.

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
@group(0) @binding(1) var<storage, read> flag: array<u32>; // [1]
@group(0) @binding(2) var<storage, read_write> out: array<u32>; // [invocation]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if flag[0] == 0u {
        return;
    }
    out[id.x] += 1u;
}
