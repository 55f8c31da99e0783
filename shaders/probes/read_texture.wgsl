// out[invocation] = xor of the texels it reads from a texture that could be sampled.
// One invocation reads n_steps times four texels, and `step` invocations share a row: `lane_step`
// neighbours share a run of texels in it and take turns; with 1, each has a run of its own.

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
@group(0) @binding(1) var data: texture_2d<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<u32>>; // [invocation]

fn texel(x: u32, y: u32) -> vec4<u32> {
    return textureLoad(data, vec2<u32>(x, y), 0);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let y = id.x / params.step;
    let s = params.lane_step;
    let place = id.x % params.step;
    var x = place / s * s * params.n_steps * 4u + place % s;
    var sum = vec4<u32>();
    for (var i = 0u; i < params.n_steps; i++) {
        sum ^= texel(x, y) ^ texel(x + s, y) ^ texel(x + 2u * s, y) ^ texel(x + 3u * s, y);
        x += 4u * s;
    }
    out[id.x] = sum;
}
