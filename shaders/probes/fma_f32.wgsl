// out[invocation] = sum of 32 chains v = v a + b, n_steps long.
// One invocation stands for its chains: 32 multiply-adds a step, in 8 independent vec4.
// The result is written so that no compiler drops the chains.

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
@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>>; // [invocation]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let a = vec4<f32>(params.a);
    let b = vec4<f32>(params.b);
    let start = vec4<f32>(f32(id.x % 64u)) + vec4<f32>(0.0, 1.0, 2.0, 3.0);
    var v0 = start;
    var v1 = start + 4.0;
    var v2 = start + 8.0;
    var v3 = start + 12.0;
    var v4 = start + 16.0;
    var v5 = start + 20.0;
    var v6 = start + 24.0;
    var v7 = start + 28.0;
    for (var i = 0u; i < params.n_steps; i++) {
        v0 = fma(v0, a, b);
        v1 = fma(v1, a, b);
        v2 = fma(v2, a, b);
        v3 = fma(v3, a, b);
        v4 = fma(v4, a, b);
        v5 = fma(v5, a, b);
        v6 = fma(v6, a, b);
        v7 = fma(v7, a, b);
    }
    out[id.x] = ((v0 + v1) + (v2 + v3)) + ((v4 + v5) + (v6 + v7));
}
