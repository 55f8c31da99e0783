// A row times the weights of a pair of neighbouring outputs. PAIR_LANES lanes walk the row in units
// of the weights that 16 bytes hold (f32: 32 bytes): an octet, with q8_0 two, with q4_0 four.
// Expects `x: array<vec4<f32>>`, `weights: array<vec4<u32>>` in the layout that `shared/weights`
// describes, `octet`, `weight_format`, `normed`, `pair_sum`, `PAIR_LANES`, and `n_in_octets`,
// `n_out` and `weight_row` in `params`.

struct Unit {
    numbers: vec4<u32>,
    // The second half of an octet of f32.
    high: vec4<u32>,
    // Of quantised weights.
    scale: f32,
}

// A lane's sums of the products of both outputs, and of squares of x.
struct PairSums {
    first: vec4<f32>,
    second: vec4<f32>,
    squares: vec4<f32>,
}

fn octets_of_unit() -> u32 {
    if WEIGHT_FORMAT == 4u {
        return 4u;
    }
    return select(1u, 2u, WEIGHT_FORMAT == 3u);
}

// Where a row of the weights begins, in vec4.
fn weights_at(row: u32) -> u32 {
    let n_octets = params.n_in_octets;
    if is_quantised() {
        let n_blocks = n_octets / BLOCK_OCTETS;
        return row * (n_octets / octets_of_unit() + (n_blocks + 7u) / 8u);
    }
    return row * n_octets * select(1u, 2u, WEIGHT_FORMAT == 0u);
}

// Unit `k` of the `n_units` of the row that begins at `row_at`.
fn unit_at(row_at: u32, k: u32, n_units: u32) -> Unit {
    if is_quantised() {
        let block = k * octets_of_unit() / BLOCK_OCTETS;
        let scales = unpack2x16float(weights[row_at + n_units + block / 8u][block % 8u / 2u]);
        return Unit(weights[row_at + k], vec4<u32>(), scales[block % 2u]);
    }
    if WEIGHT_FORMAT == 0u {
        return Unit(weights[row_at + 2u * k], weights[row_at + 2u * k + 1u], 1.0);
    }
    return Unit(weights[row_at + k], vec4<u32>(), 1.0);
}

// Octet `i` of a unit without its scale. Numbers of q4_0 are stored 8 greater than they stand for.
fn unit_octet(unit: Unit, i: u32) -> Octet {
    if WEIGHT_FORMAT == 4u {
        let words = select(unit.numbers.xy, unit.numbers.zw, (i & 1u) == 1u);
        let fields = (words >> vec2<u32>(4u * (i / 2u))) & vec2<u32>(0x0f0f0f0fu);
        let low = vec4<f32>(unpack4xU8(fields.x)) - 8.0;
        return Octet(low, vec4<f32>(unpack4xU8(fields.y)) - 8.0);
    }
    if WEIGHT_FORMAT == 3u {
        return unpack_quants(unit.numbers, i);
    }
    if WEIGHT_FORMAT == 2u {
        return unpack_bf16(unit.numbers);
    }
    if WEIGHT_FORMAT == 1u {
        return unpack_f16(unit.numbers);
    }
    return Octet(bitcast<vec4<f32>>(unit.numbers), bitcast<vec4<f32>>(unit.high));
}

// The products of octet `i` of two units with octet `octet` of the row of x that begins at `x_row`.
fn add_octet(
    before: PairSums,
    a: Unit,
    b: Unit,
    i: u32,
    x_row: u32,
    octet: u32,
    moments: Moments,
) -> PairSums {
    let low = x[x_row + 2u * octet];
    let high = x[x_row + 2u * octet + 1u];
    let v_low = normed(2u * octet, low, moments);
    let v_high = normed(2u * octet + 1u, high, moments);
    let first = unit_octet(a, i);
    let second = unit_octet(b, i);
    var sums = before;
    sums.first = fma(first.high, v_high, fma(first.low, v_low, sums.first));
    sums.second = fma(second.high, v_high, fma(second.low, v_low, sums.second));
    if NORM == 1u {
        sums.squares = fma(high, high, fma(low, low, sums.squares));
    }
    return sums;
}

// The products of unit `k` of both outputs.
fn add_unit(before: PairSums, a: Unit, b: Unit, k: u32, x_row: u32, moments: Moments) -> PairSums {
    let octet = k * octets_of_unit();
    if !is_quantised() {
        return add_octet(before, a, b, 0u, x_row, octet, moments);
    }
    let start = PairSums(vec4<f32>(), vec4<f32>(), before.squares);
    var sums = add_octet(start, a, b, 0u, x_row, octet, moments);
    sums = add_octet(sums, a, b, 1u, x_row, octet + 1u, moments);
    if WEIGHT_FORMAT == 4u {
        sums = add_octet(sums, a, b, 2u, x_row, octet + 2u, moments);
        sums = add_octet(sums, a, b, 3u, x_row, octet + 3u, moments);
    }
    sums.first = fma(vec4<f32>(a.scale), sums.first, before.first);
    sums.second = fma(vec4<f32>(b.scale), sums.second, before.second);
    return sums;
}

fn moments(x_row: u32, lane: u32, subgroup_size: u32) -> Moments {
    if NORM != 2u {
        return Moments(0.0, 1.0);
    }
    var sum = vec4<f32>();
    for (var i = lane % PAIR_LANES; i < 2u * params.n_in_octets; i += PAIR_LANES) {
        sum += x[x_row + i];
    }
    let total = pair_sum(vec3<f32>(component_sum(sum), 0.0, 0.0), lane, subgroup_size).x;
    let mean = total / f32(params.n_cols);
    workgroupBarrier();
    var squares = vec4<f32>();
    for (var i = lane % PAIR_LANES; i < 2u * params.n_in_octets; i += PAIR_LANES) {
        // The padding deviates from nothing.
        let is_column = 4u * i + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.n_cols);
        let v = select(vec4<f32>(), x[x_row + i] - mean, is_column);
        squares = fma(v, v, squares);
    }
    let all = pair_sum(vec3<f32>(component_sum(squares), 0.0, 0.0), lane, subgroup_size).x;
    workgroupBarrier();
    return Moments(mean, deviation_scale(all));
}

// A lane's share of the sums of products of outputs n and n + 1, and of the squares of x. Every
// lane must call it.
fn lane_sums(row: u32, n: u32, lane: u32, subgroup_size: u32) -> vec3<f32> {
    let x_row = 2u * row * params.n_in_octets;
    // Outputs past the end repeat the last row of the weights; `store_pair` drops them.
    let a_at = weights_at(params.weight_row + min(n, params.n_out - 1u));
    let b_at = weights_at(params.weight_row + min(n + 1u, params.n_out - 1u));
    let n_units = params.n_in_octets / octets_of_unit();
    let moments = moments(x_row, lane, subgroup_size);
    var sums = PairSums();
    var k = lane % PAIR_LANES;
    for (; k + PAIR_LANES < n_units; k += 2u * PAIR_LANES) {
        // All weights of two units are on their way before any is used.
        let a = unit_at(a_at, k, n_units);
        let b = unit_at(b_at, k, n_units);
        let next_a = unit_at(a_at, k + PAIR_LANES, n_units);
        let next_b = unit_at(b_at, k + PAIR_LANES, n_units);
        sums = add_unit(sums, a, b, k, x_row, moments);
        sums = add_unit(sums, next_a, next_b, k + PAIR_LANES, x_row, moments);
    }
    if k < n_units {
        let a = unit_at(a_at, k, n_units);
        let b = unit_at(b_at, k, n_units);
        sums = add_unit(sums, a, b, k, x_row, moments);
    }
    let squares = component_sum(sums.squares);
    return vec3<f32>(component_sum(sums.first), component_sum(sums.second), squares);
}
