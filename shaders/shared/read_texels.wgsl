// out[invocation] = xor of the texels it reads, four at a time.
// `lane_step` neighbours share a run of texels in one row of the texture and take turns in it;
// with 1, each has a run of its own.
// n_steps times four texels are an invocation's, and `step` invocations share a row.

@group(0) @binding(2) var<storage, read_write> out: array<vec4<u32>>; // [invocation]

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
