// The moments of a row of x. Expects `x: array<vec4<f32>>`, `normed` and `workgroup_sum`.

const LANES_PER_OUTPUT: u32 = 8u;

fn moments(x_row: u32, lane: u32) -> Moments {
    if NORM != 2u {
        return Moments(0.0, 1.0);
    }
    var sum = 0.0;
    for (var i = lane; i < 2u * params.n_in_octets; i += LANES) {
        sum += lanes_sum(x[x_row + i]);
    }
    let mean = workgroup_sum(sum, lane) / f32(params.n_cols);
    var squares = vec4<f32>();
    for (var i = lane; i < 2u * params.n_in_octets; i += LANES) {
        let v = x[x_row + i] - mean;
        squares = fma(v, v, squares);
    }
    let all = workgroup_sum(lanes_sum(squares), lane);
    return Moments(mean, deviation_scale(without_padding(all, mean)));
}
