enable f16;
enable wgpu_cooperative_matrix;

// out[tile] = sum of 4 chains c = A A + c of 16 x 16 matrices, f16 with f32 sums, n_steps long.
// One workgroup stands for a tile, computed by its one subgroup of 32: 4 x 8192 operations a step.
// With all of A 1/16 each step adds 1/16 to every sum.

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
@group(0) @binding(1) var<storage, read> data: array<f16>; // [16][16]
@group(0) @binding(2) var<storage, read> start: array<f32>; // [16][16], zeros
@group(0) @binding(3) var<storage, read_write> out: array<f32>; // [tile][16][16]

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>) {
    let a = coopLoad<coop_mat16x16<f16, A>>(&data[0], 16u);
    let b = coopLoad<coop_mat16x16<f16, B>>(&data[0], 16u);
    var c0 = coopLoad<coop_mat16x16<f32, C>>(&start[0], 16u);
    var c1 = c0;
    var c2 = c0;
    var c3 = c0;
    for (var i = 0u; i < params.n_steps; i++) {
        c0 = coopMultiplyAdd(a, b, c0);
        c1 = coopMultiplyAdd(a, b, c1);
        c2 = coopMultiplyAdd(a, b, c2);
        c3 = coopMultiplyAdd(a, b, c3);
    }
    let sum = (c0 + c1) + (c2 + c3);
    coopStore(sum, &out[group.x * 256u], 16u);
}
