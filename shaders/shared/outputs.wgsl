// The output stage of a linear map: eight outputs of a row get their bias, and become values of `y`
// or queries, keys and values. `bias` is padded to octets; outputs past the end are dropped.
// Expects `OUTPUT`, `GATED`, `ACCUMULATE`, `HAS_BIAS`, `bias: array<vec4<f32>>`, `y: array<f32>`,
// `activation`, `qkv`, `rows`, and `list`, `n_out`, `first_output` and `y_stride` in `params`.

fn four_activated(v: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(activated(v.x), activated(v.y), activated(v.z), activated(v.w));
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
    if GATED == 1u {
        let gates = vec4<f32>(sums.low.xz, sums.high.xz);
        let ups = vec4<f32>(sums.low.yw, sums.high.yw);
        put(row, column / 2u, end / 2u, four_activated(gates) * ups);
    } else {
        put(row, column, end, four_activated(sums.low));
        put(row, column + 4u, end, four_activated(sums.high));
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
