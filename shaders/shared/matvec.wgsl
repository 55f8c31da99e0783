// A row times the weights of eight outputs, eight lanes for each output: together they read 128
// neighbouring bytes of its weights (with f16) at a time. Expects `x: array<vec4<f32>>`, `octet`,
// `weights`, `normed`, `workgroup_sum`, and `n_in_octets`, `n_out` and `weight_row` in `params`.

const LANES_PER_OUTPUT: u32 = 8u;

fn moments(x_row: u32, lane: u32) -> Moments {
    if NORM != 2u {
        return Moments(0.0, 1.0);
    }
    var sum = 0.0;
    for (var i = lane; i < 2u * params.n_in_octets; i += WORKGROUP_SIZE) {
        sum += component_sum(x[x_row + i]);
    }
    let mean = workgroup_sum(sum, lane) / f32(params.n_cols);
    var squares = vec4<f32>();
    for (var i = lane; i < 2u * params.n_in_octets; i += WORKGROUP_SIZE) {
        // The padding deviates from nothing.
        let is_column = 4u * i + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.n_cols);
        let v = select(vec4<f32>(), x[x_row + i] - mean, is_column);
        squares = fma(v, v, squares);
    }
    let all = workgroup_sum(component_sum(squares), lane);
    return Moments(mean, deviation_scale(all));
}

// A lane's share of the sum of products of output n + lane / LANES_PER_OUTPUT, and of the squares
// of x: every output's lanes see all of x between them. Every lane must call it.
fn lane_sums(row: u32, n: u32, lane: u32) -> vec2<f32> {
    let octets = params.n_in_octets;
    let x_row = 2u * row * octets;
    // Outputs past the end repeat the last row of the weights; `store` drops them.
    let output = min(n + lane / LANES_PER_OUTPUT, params.n_out - 1u);
    let w_row = params.weight_row + output;
    let moments = moments(x_row, lane);
    var sum = vec4<f32>();
    var squares = vec4<f32>();
    for (var k = lane % LANES_PER_OUTPUT; k < octets; k += LANES_PER_OUTPUT) {
        let low = x[x_row + 2u * k];
        let high = x[x_row + 2u * k + 1u];
        if NORM == 1u {
            squares = fma(low, low, fma(high, high, squares));
        }
        let w = weight_octet(w_row, k, octets);
        sum = fma(w.low, normed(2u * k, low, moments), sum);
        sum = fma(w.high, normed(2u * k + 1u, high, moments), sum);
    }
    return vec2<f32>(component_sum(sum), component_sum(squares));
}
