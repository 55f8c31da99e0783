// out[invocation] = xor of everything it reads, four streams at a time.
// One invocation stands for its share of `data`; how the shares lie is the access shape.
// n_steps, lane_step, step and stream_step (in vec4) cover `data` exactly once.

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
@group(0) @binding(1) var<storage, read> data: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<u32>>; // [invocation]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let s = params.stream_step;
    var at = id.x * params.lane_step;
    var sum = vec4<u32>();
    for (var i = 0u; i < params.n_steps; i++) {
        sum ^= (data[at] ^ data[at + s]) ^ (data[at + 2u * s] ^ data[at + 3u * s]);
        at += params.step;
    }
    out[id.x] = sum;
}
