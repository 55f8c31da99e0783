// y[row] = epilogue(weights x[row] + bias), for one row, weights in a texture.
// One invocation stands for four outputs.
// The row is the one that is listed; the uniform buffer begins with its x.

@group(0) @binding(1) var<uniform> x: array<vec4<f32>, 4096>; // [2 n_in_octets], at most 64 KiB
@group(0) @binding(2) var weights: texture_2d<u32>;           // [row of weights][n_in_octets]

#import shared/epilogue
#import shared/octet
#import shared/weights_texture
#import shared/quad

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
) {
    let n = 4u * id.x;
    if group.y >= n_listed(params.list) || n >= params.n_out {
        return;
    }
    let w = rows_of(n);
    var sums = vec4<f32>();
    for (var k = 0u; k < params.n_in_octets; k++) {
        sums = quad_step(sums, weight_quad(w, k), x[2u * k], x[2u * k + 1u]);
    }
    store(listed(params.list, group.y), n, sums);
}
