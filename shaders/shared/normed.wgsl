// The norm that an input passes on its way into a linear map, computed where it is read.
//
// RMS: the sum of squares is gathered along with the products, and scales their sums at the end.
// Layer norm needs mean and deviation beforehand. `norm` holds weights, then biases.
// Expects `NORM`, `norm: array<vec4<f32>>`, and `n_in_octets`, `n_cols` and `eps` in `params`.

struct Moments {
    mean: f32,
    // 1 / standard deviation
    scale: f32,
}

// Values 4 i .. 4 i + 3 of a row, `v`, as the weights are to meet them.
fn normed(i: u32, v: vec4<f32>, moments: Moments) -> vec4<f32> {
    if NORM == 1u {
        return v * norm[i];
    }
    if NORM == 2u {
        let deviations = (v - moments.mean) * moments.scale;
        return fma(deviations, norm[i], norm[2u * params.n_in_octets + i]);
    }
    return v;
}

// The factor that scales the sums of products: 1 without RMS.
fn rms_scale(squares: f32) -> f32 {
    return select(1.0, 1.0 / sqrt(squares / f32(params.n_cols) + params.eps), NORM == 1u);
}

fn deviation_scale(squares: f32) -> f32 {
    return 1.0 / sqrt(squares / f32(params.n_cols) + params.eps);
}
