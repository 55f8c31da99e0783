// What happens to the sums of a linear map before they are written, and where they go.
//
// `matvec` and `matmul` sum an output in the same order, so a row's result does not depend on how
// many rows are computed with it; those that read textures have an order of their own.

struct Params {
    n_in_octets: u32,
    // Outputs of this matrix, and the first row of `weights` that is used.
    n_out: u32,
    weight_row: u32,
    // Where the outputs go: a row of `y` has `y_stride` values, the first output is `y_column`.
    y_stride: u32,
    y_column: u32,
    // Bias of the first output.
    bias_at: u32,
    list: u32,
    has_bias: u32,
    // 1: add to what `y` holds (the residual stream).
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(3) var<storage, read> bias: array<f32>;          // [output]
@group(0) @binding(4) var<storage, read> rows: array<u32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;       // [row][y_stride]

#import shared/rows

override EPILOGUE: u32 = 0u; // 0 none, 1 GELU (tanh), 2 SwiGLU of (gate, up) pairs

fn dot_step(sum: vec4<f32>, w: Octet, x_low: vec4<f32>, x_high: vec4<f32>) -> vec4<f32> {
    return fma(w.high, x_high, fma(w.low, x_low, sum));
}

fn lanes_sum(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

fn gelu_tanh(v: f32) -> f32 {
    // tanh overflows on some drivers, and is 1 to the last bit from 10 on.
    let inner = clamp(0.7978845608 * (v + 0.044715 * v * v * v), -15.0, 15.0);
    return 0.5 * v * (1.0 + tanh(inner));
}

fn silu(v: f32) -> f32 {
    // exp overflows below -88, where the result is 0 to the last bit that f32 has near 1.
    return v / (1.0 + exp(-max(v, -88.0)));
}

fn put(row: u32, column: u32, value: f32) {
    let at = row * params.y_stride + params.y_column + column;
    if params.accumulate == 1u {
        y[at] += value;
    } else {
        y[at] = value;
    }
}

// Outputs n .. n + 3 of a row; those from n_out on are dropped.
fn store(row: u32, n: u32, sums: vec4<f32>) {
    var value = sums;
    let count = min(4u, params.n_out - n);
    if params.has_bias == 1u {
        for (var i = 0u; i < count; i++) {
            value[i] += bias[params.bias_at + n + i];
        }
    }
    if EPILOGUE == 2u {
        for (var i = 0u; i < count; i += 2u) {
            put(row, (n + i) / 2u, silu(value[i]) * value[i + 1u]);
        }
        return;
    }
    for (var i = 0u; i < count; i++) {
        if EPILOGUE == 1u {
            put(row, n + i, gelu_tanh(value[i]));
        } else {
            put(row, n + i, value[i]);
        }
    }
}
