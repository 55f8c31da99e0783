// The octets of x that the lanes hold, their moments, and their products with weights. Expects
// `x: array<vec4<f32>, 4096>`, `normed`, `lanes` and `quad`.
//
// Loops break at the end of their body: of a loop that breaks at its beginning, llvmpipe goes
// through the body once more, with every lane masked.

// A lane's octet of those from `first` on; zeros past the end.
fn x_octet(first: u32, lane: u32) -> Octet {
    let k = first + lane;
    let at = 2u * min(k, params.n_in_octets - 1u);
    let is_inside = k < params.n_in_octets;
    return Octet(select(vec4<f32>(), x[at], is_inside), select(vec4<f32>(), x[at + 1u], is_inside));
}

fn moments(lane: u32) -> Moments {
    if NORM != 2u {
        return Moments(0.0, 1.0);
    }
    var sum = vec4<f32>();
    var first = 0u;
    loop {
        let octet = x_octet(first, lane);
        sum += octet.low + octet.high;
        first += LANES;
        if first >= params.n_in_octets {
            break;
        }
    }
    let mean = sum_over_lanes(lanes_sum(sum)) / f32(params.n_cols);
    var squares = vec4<f32>();
    first = 0u;
    loop {
        let octet = x_octet(first, lane);
        let is_inside = first + lane < params.n_in_octets;
        let low = select(vec4<f32>(), octet.low - mean, is_inside);
        let high = select(vec4<f32>(), octet.high - mean, is_inside);
        squares = fma(low, low, fma(high, high, squares));
        first += LANES;
        if first >= params.n_in_octets {
            break;
        }
    }
    let all = sum_over_lanes(lanes_sum(squares));
    return Moments(mean, deviation_scale(without_padding(all, mean)));
}

fn normed_octet(octet: Octet, k: u32, moments: Moments) -> Octet {
    let at = 2u * min(k, params.n_in_octets - 1u);
    return Octet(normed(at, octet.low, moments), normed(at + 1u, octet.high, moments));
}

// Adds to the sums of four outputs a part of their weights times the octets of x that the lanes
// hold from lane `i` on.
fn add_part(before: vec4<f32>, texels: QuadTexels, x: Octet, i: u32) -> vec4<f32> {
    var sums = add_octet(before, texels, 0u, octet_from_lane(x, i));
    if octets_a_part() >= 2u {
        sums = add_octet(sums, texels, 1u, octet_from_lane(x, i + 1u));
    }
    if octets_a_part() == 4u {
        sums = add_octet(sums, texels, 2u, octet_from_lane(x, i + 2u));
        sums = add_octet(sums, texels, 3u, octet_from_lane(x, i + 3u));
    }
    return sums;
}

fn add_octet(sums: vec4<f32>, texels: QuadTexels, i: u32, x: Octet) -> vec4<f32> {
    return quad_step(sums, quad_of(texels, i), x.low, x.high);
}
