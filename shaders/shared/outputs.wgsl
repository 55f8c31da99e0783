// The output stage of a linear map: eight outputs of a row get their bias, and become values of `y`
// or queries, keys and values. `bias` is padded to octets; outputs past the end are dropped.
// Expects `OUTPUT`, `EPILOGUE`, `ACCUMULATE`, `HAS_BIAS`, `bias: array<vec4<f32>>`,
// `y: array<f32>`, `qkv`, `rows`, and `list`, `n_out`, `first_output` and `y_stride` in
// `params`.

fn gelu_tanh(v: vec4<f32>) -> vec4<f32> {
    // tanh overflows on some drivers, and is 1 to the last bit from 10 on.
    let inner = clamp(0.7978845608 * (v + 0.044715 * v * v * v), vec4<f32>(-15.0), vec4<f32>(15.0));
    return 0.5 * v * (1.0 + tanh(inner));
}

fn silu(v: vec4<f32>) -> vec4<f32> {
    // exp overflows below -88, where the result is 0 to the last bit that f32 has near 1.
    return v / (1.0 + exp(-max(v, vec4<f32>(-88.0))));
}

// Outputs n .. n + 7 of this matrix from their sums of products.
fn biased(n: u32, sums: Octet) -> Octet {
    if HAS_BIAS == 0u {
        return sums;
    }
    let at = (params.first_output + n) / 4u;
    return Octet(sums.low + bias[at], sums.high + bias[at + 1u]);
}

// Columns column .. column + 3 of a row of `y`; those from `end` on are dropped.
fn put(row: u32, column: u32, end: u32, values: vec4<f32>) {
    let at = row * params.y_stride + column;
    for (var i = 0u; i < 4u; i++) {
        if column + i < end {
            if ACCUMULATE == 1u {
                y[at + i] += values[i];
            } else {
                y[at + i] = values[i];
            }
        }
    }
}

fn store_row(row: u32, column: u32, sums: Octet) {
    let end = params.first_output + params.n_out;
    if EPILOGUE == 2u {
        let gates = vec4<f32>(sums.low.xz, sums.high.xz);
        let ups = vec4<f32>(sums.low.yw, sums.high.yw);
        put(row, column / 2u, end / 2u, silu(gates) * ups);
    } else if EPILOGUE == 1u {
        put(row, column, end, gelu_tanh(sums.low));
        put(row, column + 4u, end, gelu_tanh(sums.high));
    } else {
        put(row, column, end, sums.low);
        put(row, column + 4u, end, sums.high);
    }
}

// Outputs n .. n + 7 of this matrix for a row.
fn store(row: u32, n: u32, low: vec4<f32>, high: vec4<f32>) {
    let sums = biased(n, Octet(low, high));
    if OUTPUT == 1u {
        store_qkv(row, params.first_output + n, sums);
    } else {
        store_row(row, params.first_output + n, sums);
    }
}

// Outputs n .. n + 7 of this matrix for a listed row, if there are such outputs and such a row.
fn store_listed(slot: u32, n: u32, low: vec4<f32>, high: vec4<f32>) {
    if slot < n_listed(params.list) && n < params.n_out {
        store(listed(params.list, slot), n, low, high);
    }
}
