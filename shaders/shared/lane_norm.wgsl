// The norm of an input row whose octets the lanes of a subgroup take in turn: of SUBGROUP_LANES
// neighbouring octets, each lane has one. Whoever takes rows so, one or many, gets the same bits.
// Expects `x: array<vec4<f32>>`, `octet`, `lanes`, `normed`, and what `normed` expects. `start` is
// the index in `x` where the row begins.

// Octet `k` of the row; zeros past the end.
fn x_octet(start: u32, k: u32) -> Octet {
    let at = start + 2u * min(k, params.n_in_octets - 1u);
    let is_inside = k < params.n_in_octets;
    return Octet(select(vec4<f32>(), x[at], is_inside), select(vec4<f32>(), x[at + 1u], is_inside));
}

// Adds an octet's squares to their sums.
fn with_squares(sums: vec4<f32>, octet: Octet) -> vec4<f32> {
    return fma(octet.low, octet.low, fma(octet.high, octet.high, sums));
}

// Loops break at the end of their body: of a loop that breaks at its beginning, llvmpipe goes
// through the body once more, with every lane masked. They count from the lane on: short loops of
// a known number of turns llvmpipe unrolls, and compiles them anew whenever they are bound.
fn moments(start: u32, lane: u32) -> Moments {
    if NORM != 2u {
        return Moments(0.0, 1.0);
    }
    var sum = vec4<f32>();
    var k = lane;
    loop {
        let octet = x_octet(start, k);
        sum += octet.low + octet.high;
        k += SUBGROUP_LANES;
        if k >= params.n_in_octets {
            break;
        }
    }
    let mean = sum_over_lanes(component_sum(sum)) / f32(params.n_cols);
    var squares = vec4<f32>();
    k = lane;
    loop {
        let octet = x_octet(start, k);
        // The padding deviates from nothing.
        let columns = 8u * k + vec4<u32>(0u, 1u, 2u, 3u);
        let low = select(vec4<f32>(), octet.low - mean, columns < vec4<u32>(params.n_cols));
        let high = select(vec4<f32>(), octet.high - mean, columns + 4u < vec4<u32>(params.n_cols));
        squares = with_squares(squares, Octet(low, high));
        k += SUBGROUP_LANES;
        if k >= params.n_in_octets {
            break;
        }
    }
    let all = sum_over_lanes(component_sum(squares));
    return Moments(mean, deviation_scale(all));
}

fn normed_octet(octet: Octet, k: u32, moments: Moments) -> Octet {
    let at = 2u * min(k, params.n_in_octets - 1u);
    return Octet(normed(at, octet.low, moments), normed(at + 1u, octet.high, moments));
}
