// One invocation stands for eight outputs of one row, weights in a texture.
// The row is the one that is listed; the uniform buffers begin with its x and its norm.

@group(0) @binding(1) var<uniform> x: array<vec4<f32>, 4096>; // [2 n_in_octets], at most 64 KiB
@group(0) @binding(2) var weights: texture_storage_2d<rgba32uint, read>;

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

struct Sums {
    low: vec4<f32>,
    high: vec4<f32>,
    squares: vec4<f32>,
}

// Adds octet `k` of x, which is octet `i` of a step of the weights.
fn add_octet(before: Sums, low: QuadTexels, high: QuadTexels, k: u32, i: u32, m: Moments) -> Sums {
    let a = x[2u * k];
    let b = x[2u * k + 1u];
    var sums = before;
    if NORM == 1u {
        sums.squares = fma(a, a, fma(b, b, sums.squares));
    }
    let x_low = normed(2u * k, a, m);
    let x_high = normed(2u * k + 1u, b, m);
    sums.low = quad_step(sums.low, quad_of(low, i), x_low, x_high);
    sums.high = quad_step(sums.high, quad_of(high, i), x_low, x_high);
    return sums;
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
    var sums = Sums();
    let n_steps = params.n_in_octets / octets_a_step();
    for (var step = 0u; step < n_steps; step++) {
        let low = quad_texels(first, step);
        let high = quad_texels(first + 4u, step);
        let k = step * octets_a_step();
        sums = add_octet(sums, low, high, k, 0u, moments);
        if is_quantised() {
            sums = add_octet(sums, low, high, k + 1u, 1u, moments);
            sums = add_octet(sums, low, high, k + 2u, 2u, moments);
            sums = add_octet(sums, low, high, k + 3u, 3u, moments);
        }
    }
    let s = sums.squares;
    let scale = rms_scale(s.x + s.y + s.z + s.w);
    store(listed(params.list, group.y), n, scale * sums.low, scale * sums.high);
}
