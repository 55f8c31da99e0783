// Outputs of a linear map, eight at a time. `weights`, `bias` and `norm` are padded to octets with
// zeros; outputs past the end are dropped when they are stored. Expects `bias: array<vec4<f32>>`,
// and `has_bias` and `first_output` in `params`.

struct Outputs {
    low: vec4<f32>,
    high: vec4<f32>,
}

// Sums of outputs n .. n + 7 of this matrix with their bias.
fn biased(n: u32, low: vec4<f32>, high: vec4<f32>) -> Outputs {
    if params.has_bias == 0u {
        return Outputs(low, high);
    }
    let at = (params.first_output + n) / 4u;
    return Outputs(low + bias[at], high + bias[at + 1u]);
}
