// Parameters of all linear maps, in buffers and textures, for rows of outputs and for QKV.
//
// Outputs come eight at a time. `weights`, `bias` and `norm` are padded to octets with zeros;
// outputs past the end are dropped when they are stored.

struct Params {
    n_in_octets: u32,
    // Outputs of this matrix, and the first row of `weights` that is used, a multiple of eight.
    n_out: u32,
    weight_row: u32,
    // Which of the whole map's outputs the first one is, a multiple of eight.
    first_output: u32,
    list: u32,
    has_bias: u32,
    // The norm that inputs pass first (`shared/normed`): their number without the padding.
    n_cols: u32,
    eps: f32,
    // Where rows of outputs go (`shared/store_rows`): values of a row of `y`, and 1 to add to its
    // old values (the residual stream).
    y_stride: u32,
    accumulate: u32,
    // Where queries, keys and values go (`shared/store_qkv`).
    n_heads: u32,
    n_kv_heads: u32,
    head_octets: u32,
    has_rope: u32,
    kv_places: u32,
    first_cycle: u32,
    n_cycles: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>; // [output / 4]
@group(0) @binding(4) var<storage, read> rows: array<u32>;

#import shared/rows

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
