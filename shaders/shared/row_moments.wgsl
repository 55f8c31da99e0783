// Mean and deviation of up to four rows, for layer norm, by the lanes of a group. Expects
// `x: array<vec4<f32>>`, `octet`, `normed`, `group_sums_subgroup` or `group_sums_workgroup`,
// `ROWS`, `GROUP_LANES`, and `n_in_octets` and `n_cols` in `params`.

// By row; of fewer rows the last ones are unused.
struct AllMoments {
    a: Moments,
    b: Moments,
    c: Moments,
    d: Moments,
}

// Values 4 i .. 4 i + 3 of a row less its mean; the padding deviates from nothing.
fn deviations(at: u32, i: u32, mean: f32) -> vec4<f32> {
    let is_column = 4u * i + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.n_cols);
    return select(vec4<f32>(), x[at + i] - mean, is_column);
}

fn squares_of(v: vec4<f32>) -> f32 {
    return fma(v.x, v.x, fma(v.y, v.y, fma(v.z, v.z, v.w * v.w)));
}

// Of rows that begin at `at`. Every lane must call it.
fn moments(at: vec4<u32>, lane: u32, subgroup_size: u32) -> AllMoments {
    if NORM != 2u {
        let none = Moments(0.0, 1.0);
        return AllMoments(none, none, none, none);
    }
    var sum = vec4<f32>();
    for (var i = lane % GROUP_LANES; i < 2u * params.n_in_octets; i += GROUP_LANES) {
        sum.x += component_sum(x[at.x + i]);
        if ROWS >= 2u {
            sum.y += component_sum(x[at.y + i]);
        }
        if ROWS == 4u {
            sum.z += component_sum(x[at.z + i]);
            sum.w += component_sum(x[at.w + i]);
        }
    }
    put_sums(0u, sum, lane, subgroup_size);
    gather_sums(1u, lane);
    let mean = group_sum(0u, lane / GROUP_LANES, subgroup_size) / f32(params.n_cols);
    workgroupBarrier();
    var squares = vec4<f32>();
    for (var i = lane % GROUP_LANES; i < 2u * params.n_in_octets; i += GROUP_LANES) {
        squares.x += squares_of(deviations(at.x, i, mean.x));
        if ROWS >= 2u {
            squares.y += squares_of(deviations(at.y, i, mean.y));
        }
        if ROWS == 4u {
            squares.z += squares_of(deviations(at.z, i, mean.z));
            squares.w += squares_of(deviations(at.w, i, mean.w));
        }
    }
    put_sums(0u, squares, lane, subgroup_size);
    gather_sums(1u, lane);
    let all = group_sum(0u, lane / GROUP_LANES, subgroup_size);
    workgroupBarrier();
    return AllMoments(
        Moments(mean.x, deviation_scale(all.x)),
        Moments(mean.y, deviation_scale(all.y)),
        Moments(mean.z, deviation_scale(all.z)),
        Moments(mean.w, deviation_scale(all.w)),
    );
}
