// Tiles of weights and x in workgroup memory, 32 inputs at a time, each as the lanes want them:
// four outputs, or four rows, of one input in a vec4. Expects `w_tile`, `x_tile`, `x`, `store`,
// `rows` and `weights`.

const STEP: u32 = 32u; // inputs
const OCTETS: u32 = 4u; // of a step
const TILE_OUTPUTS: u32 = 64u;
const TILE_ROWS: u32 = 32u;

// Four octets, turned: from eight values of each to four octets' values of each.
fn put_w(at: u32, a: Octet, b: Octet, c: Octet, d: Octet) {
    for (var i = 0u; i < 4u; i++) {
        w_tile[at + i * 16u] = vec4<f32>(a.low[i], b.low[i], c.low[i], d.low[i]);
        w_tile[at + (i + 4u) * 16u] = vec4<f32>(a.high[i], b.high[i], c.high[i], d.high[i]);
    }
}

fn put_x(at: u32, a: Octet, b: Octet, c: Octet, d: Octet) {
    for (var i = 0u; i < 4u; i++) {
        x_tile[at + i * 8u] = vec4<f32>(a.low[i], b.low[i], c.low[i], d.low[i]);
        x_tile[at + (i + 4u) * 8u] = vec4<f32>(a.high[i], b.high[i], c.high[i], d.high[i]);
    }
}

// An octet of an output's weights. Past the last output the last one is repeated, and `store`
// drops its result; past the last input there are zeros.
fn w_octet(output: u32, octet: u32) -> Octet {
    if octet >= params.n_in_octets {
        return Octet(vec4<f32>(), vec4<f32>());
    }
    let row = params.weight_row + min(output, params.n_out - 1u);
    return weight_octet(row, octet, params.n_in_octets);
}

fn x_octet(slot: u32, octet: u32) -> Octet {
    if octet >= params.n_in_octets {
        return Octet(vec4<f32>(), vec4<f32>());
    }
    let row = listed(params.list, min(slot, n_listed(params.list) - 1u));
    let at = 2u * (row * params.n_in_octets + octet);
    return Octet(x[at], x[at + 1u]);
}

fn finish(slot: u32, n: u32, low: vec4<f32>, high: vec4<f32>) {
    if slot < n_listed(params.list) && n < params.n_out {
        store(listed(params.list, slot), n, low, high);
    }
}
