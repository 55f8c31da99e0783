// out[invocation] += 1, unless the flag says that nothing is to be done.
// One invocation stands for one value.
// The flag is read from memory, as a skipped cycle would read its state.

#import shared/probe_params

@group(0) @binding(1) var<storage, read> flag: array<u32>; // [1]
@group(0) @binding(2) var<storage, read_write> out: array<u32>; // [invocation]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if flag[0] == 0u {
        return;
    }
    out[id.x] += 1u;
}
