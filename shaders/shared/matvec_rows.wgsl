// ROWS listed rows times the weights of OUTPUTS neighbouring outputs, by a group of GROUP_LANES
// lanes that walk the inputs in units. Each load of weights serves all rows, each load of a row all
// outputs; a row's sums are the same to the bit for any ROWS and OUTPUTS. Expects
// `x: array<vec4<f32>>`, `octet`, `normed`, `rows`, `matvec_units`, `row_moments`, `output_pair`,
// `OUTPUTS`, `ROWS`, `GROUP_LANES`, `WORKGROUP_SIZE`, and `list`, `n_in_octets`, `n_out` and
// `weight_row` in `params`.

// A lane's sums for one row: products by output, and squares of x.
struct RowSums {
    products: vec4<f32>,
    squares: vec4<f32>,
}

// By row; of fewer rows the last ones are unused.
struct Sums {
    a: RowSums,
    b: RowSums,
    c: RowSums,
    d: RowSums,
}

// The listed row of slot `first` + `r`. Slots past the end repeat the last row; their results are
// dropped.
fn row_of(first: u32, r: u32) -> u32 {
    return listed(params.list, min(first + r, n_listed(params.list) - 1u));
}

fn add_row(before: RowSums, w: Octets, at: u32, octet: u32, moments: Moments) -> RowSums {
    let low = x[at + 2u * octet];
    let high = x[at + 2u * octet + 1u];
    let v = Octet(normed(2u * octet, low, moments), normed(2u * octet + 1u, high, moments));
    var sums = before;
    sums.products = add_products(sums.products, w, v);
    if NORM == 1u {
        sums.squares = fma(high, high, fma(low, low, sums.squares));
    }
    return sums;
}

// The products of octet `i` of units with octet `octet` of each row of x.
fn add_octet(before: Sums, units: Units, i: u32, octet: u32, at: vec4<u32>, m: AllMoments) -> Sums {
    let w = octets(units, i);
    var sums = before;
    sums.a = add_row(sums.a, w, at.x, octet, m.a);
    if ROWS >= 2u {
        sums.b = add_row(sums.b, w, at.y, octet, m.b);
    }
    if ROWS == 4u {
        sums.c = add_row(sums.c, w, at.z, octet, m.c);
        sums.d = add_row(sums.d, w, at.w, octet, m.d);
    }
    return sums;
}

// The sums of a row before a unit, and of the unit alone, together.
fn scaled_unit(before: RowSums, unit: RowSums, scales: vec4<f32>) -> RowSums {
    return RowSums(fma(scales, unit.products, before.products), unit.squares);
}

// The sums with which a unit begins.
fn of_unit(before: RowSums) -> RowSums {
    return RowSums(vec4<f32>(), before.squares);
}

// The products of unit `k` of each output.
fn add_units(before: Sums, units: Units, k: u32, at: vec4<u32>, m: AllMoments) -> Sums {
    let octet = k * octets_of_unit();
    if !is_quantised() {
        return add_octet(before, units, 0u, octet, at, m);
    }
    var sums = Sums(of_unit(before.a), of_unit(before.b), of_unit(before.c), of_unit(before.d));
    sums = add_octet(sums, units, 0u, octet, at, m);
    sums = add_octet(sums, units, 1u, octet + 1u, at, m);
    if WEIGHT_FORMAT == 4u {
        sums = add_octet(sums, units, 2u, octet + 2u, at, m);
        sums = add_octet(sums, units, 3u, octet + 3u, at, m);
    }
    let scales = vec4<f32>(units.a.scale, units.b.scale, units.c.scale, units.d.scale);
    sums.a = scaled_unit(before.a, sums.a, scales);
    if ROWS >= 2u {
        sums.b = scaled_unit(before.b, sums.b, scales);
    }
    if ROWS == 4u {
        sums.c = scaled_unit(before.c, sums.c, scales);
        sums.d = scaled_unit(before.d, sums.d, scales);
    }
    return sums;
}

// A lane's share of the sums of outputs n .. n + OUTPUTS - 1 for the rows of slots `first_slot` and
// after. Every lane must call it.
fn lane_sums(first_slot: u32, n: u32, lane: u32, subgroup_size: u32) -> Sums {
    let slots = vec4<u32>(0u, 1u, 2u, 3u);
    let width = 2u * params.n_in_octets;
    var x_at = vec4<u32>(width * row_of(first_slot, 0u));
    if ROWS >= 2u {
        x_at.y = width * row_of(first_slot, 1u);
    }
    if ROWS == 4u {
        x_at.z = width * row_of(first_slot, 2u);
        x_at.w = width * row_of(first_slot, 3u);
    }
    // Outputs past the end repeat the last row of the weights; they are dropped in the end.
    let outputs = params.weight_row + min(n + slots, vec4<u32>(params.n_out - 1u));
    let at_a = weights_at(outputs.x);
    let w_at = vec4(at_a, weights_at(outputs.y), weights_at(outputs.z), weights_at(outputs.w));
    let n_units = params.n_in_octets / octets_of_unit();
    let moments = moments(x_at, lane, subgroup_size);
    var sums = Sums();
    var k = lane % GROUP_LANES;
    if OUTPUTS * ROWS == 2u {
        // All weights of two units are on their way before any is used.
        for (; k + GROUP_LANES < n_units; k += 2u * GROUP_LANES) {
            let units = units_at(w_at, k, n_units);
            let next = units_at(w_at, k + GROUP_LANES, n_units);
            sums = add_units(sums, units, k, x_at, moments);
            sums = add_units(sums, next, k + GROUP_LANES, x_at, moments);
        }
    }
    for (; k < n_units; k += GROUP_LANES) {
        sums = add_units(sums, units_at(w_at, k, n_units), k, x_at, moments);
    }
    return sums;
}

// Puts the sums of each row into its block, and those of squares, by row, into the last one.
fn put_rows(sums: Sums, lane: u32, subgroup_size: u32) {
    put_sums(0u, sums.a.products, lane, subgroup_size);
    var squares = vec4<f32>(component_sum(sums.a.squares), 0.0, 0.0, 0.0);
    if ROWS >= 2u {
        put_sums(1u, sums.b.products, lane, subgroup_size);
        squares.y = component_sum(sums.b.squares);
    }
    if ROWS == 4u {
        put_sums(2u, sums.c.products, lane, subgroup_size);
        put_sums(3u, sums.d.products, lane, subgroup_size);
        squares.z = component_sum(sums.c.squares);
        squares.w = component_sum(sums.d.squares);
    }
    if NORM == 1u {
        put_sums(ROWS, squares, lane, subgroup_size);
    }
}

// Adds what `put_rows` left, and stores: a lane finishes two outputs of a row. `first` is the first
// output of the workgroup. Every lane must call it.
fn finish_rows(first_slot: u32, first: u32, lane: u32, subgroup_size: u32) {
    gather_sums(select(ROWS, ROWS + 1u, NORM == 1u), lane);
    let n_pairs = WORKGROUP_SIZE / GROUP_LANES * OUTPUTS / 2u;
    let row = lane / n_pairs;
    let pair = lane % n_pairs;
    let slot = first_slot + row;
    if row >= ROWS || slot >= n_listed(params.list) || first + 2u * pair >= params.n_out {
        return;
    }
    let group = 2u * pair / OUTPUTS;
    let products = group_sum(row, group, subgroup_size);
    var squares = vec4<f32>();
    if NORM == 1u {
        squares = group_sum(ROWS, group, subgroup_size);
    }
    let two = select(products.xy, products.zw, OUTPUTS == 4u && pair % 2u == 1u);
    store_pair(listed(params.list, slot), first + 2u * pair, two * rms_scale(squares[row]));
}
