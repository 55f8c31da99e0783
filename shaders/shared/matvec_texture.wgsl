// One invocation stands for eight outputs of one row, weights in a texture.
// The row is the one that is listed; the uniform buffers begin with its x and its norm.

@group(0) @binding(1) var<uniform> x: array<vec4<f32>, 4096>; // [2 n_in_octets], at most 64 KiB
@group(0) @binding(2) var weights: texture_2d<u32>;

#import shared/normed
#import shared/octet
#import shared/weights_texture
#import shared/quad

fn moments() -> Moments {
    if NORM != 2u {
        return Moments(0.0, 1.0);
    }
    var sum = vec4<f32>();
    for (var i = 0u; i < 2u * params.n_in_octets; i++) {
        sum += x[i];
    }
    let mean = (sum.x + sum.y + sum.z + sum.w) / f32(params.n_cols);
    var squares = vec4<f32>();
    for (var i = 0u; i < 2u * params.n_in_octets; i++) {
        let v = x[i] - mean;
        squares = fma(v, v, squares);
    }
    let all = squares.x + squares.y + squares.z + squares.w;
    return Moments(mean, deviation_scale(without_padding(all, mean)));
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
) {
    let n = 8u * id.x;
    if group.y >= n_listed(params.list) || n >= params.n_out {
        return;
    }
    let first = params.weight_row + n;
    let moments = moments();
    var low = vec4<f32>();
    var high = vec4<f32>();
    var squares = vec4<f32>();
    for (var k = 0u; k < params.n_in_octets; k++) {
        let a = x[2u * k];
        let b = x[2u * k + 1u];
        if NORM == 1u {
            squares = fma(a, a, fma(b, b, squares));
        }
        let x_low = normed(2u * k, a, moments);
        let x_high = normed(2u * k + 1u, b, moments);
        low = quad_step(low, weight_quad(first, k), x_low, x_high);
        high = quad_step(high, weight_quad(first + 4u, k), x_low, x_high);
    }
    let scale = rms_scale(squares.x + squares.y + squares.z + squares.w);
    store(listed(params.list, group.y), n, scale * low, scale * high);
}
