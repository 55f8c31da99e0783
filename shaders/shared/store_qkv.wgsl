// Outputs that are queries, keys and values.
// Expects `linear` and `qkv_octet`.

// Outputs n .. n + 7 of a row.
fn store(row: u32, n: u32, low: vec4<f32>, high: vec4<f32>) {
    let sums = biased(n, low, high);
    store_octet(row, params.first_output + n, sums.low, sums.high);
}
