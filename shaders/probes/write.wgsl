// data[i] = i + seed in each component, four streams at a time.
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
@group(0) @binding(1) var<storage, read_write> data: array<vec4<u32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let s = params.stream_step;
    var at = id.x * params.lane_step;
    for (var i = 0u; i < params.n_steps; i++) {
        data[at] = vec4<u32>(at + params.seed);
        data[at + s] = vec4<u32>(at + s + params.seed);
        data[at + 2u * s] = vec4<u32>(at + 2u * s + params.seed);
        data[at + 3u * s] = vec4<u32>(at + 3u * s + params.seed);
        at += params.step;
    }
}
