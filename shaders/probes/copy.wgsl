// to[i] = data[i], four streams at a time.
// One invocation stands for its share; how the shares lie is the access shape.
// n_steps, lane_step, step and stream_step (in vec4) cover both buffers exactly once.

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
@group(0) @binding(2) var<storage, read_write> to: array<vec4<u32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let s = params.stream_step;
    var at = id.x * params.lane_step;
    for (var i = 0u; i < params.n_steps; i++) {
        to[at] = data[at];
        to[at + s] = data[at + s];
        to[at + 2u * s] = data[at + 2u * s];
        to[at + 3u * s] = data[at + 3u * s];
        at += params.step;
    }
}
