// out[invocation] = xor of the texels it reads, four at a time.
// One invocation stands for a run of texels in one row of the texture.
// n_steps times four texels are a run, and `step` invocations share a row.

#import shared/probe_params

@group(0) @binding(1) var data: texture_2d<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<u32>>; // [invocation]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let y = id.x / params.step;
    var x = id.x % params.step * params.n_steps * 4u;
    var sum = vec4<u32>();
    for (var i = 0u; i < params.n_steps; i++) {
        sum ^= textureLoad(data, vec2<u32>(x, y), 0) ^ textureLoad(data, vec2<u32>(x + 1u, y), 0);
        sum ^= textureLoad(data, vec2<u32>(x + 2u, y), 0) ^ textureLoad(data, vec2<u32>(x + 3u, y), 0);
        x += 4u;
    }
    out[id.x] = sum;
}
