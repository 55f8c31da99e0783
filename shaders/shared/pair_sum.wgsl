// Sums over the PAIR_LANES neighbouring lanes that stand for a pair of outputs: within a subgroup
// by shuffles, and where a pair has several subgroups through workgroup memory. Subgroups have 8
// lanes or more, neighbours by their index in the workgroup. Expects `PAIR_LANES`, `NORM` and the
// workgroup memory `subgroup_values: array<f32>`, three values a subgroup.

// Every lane of the workgroup must call it, and every lane gets the sums of its pair. The third one
// is gathered only where the norm wants it. Between two calls there must be a barrier.
fn pair_sum(values: vec3<f32>, lane: u32, subgroup_size: u32) -> vec3<f32> {
    var sums = values.xy;
    var third = values.z;
    for (var mask = 1u; mask < min(PAIR_LANES, subgroup_size); mask *= 2u) {
        sums += subgroupShuffleXor(sums, mask);
        if NORM == 1u {
            third += subgroupShuffleXor(third, mask);
        }
    }
    if PAIR_LANES <= subgroup_size {
        return vec3<f32>(sums, third);
    }
    if lane % subgroup_size == 0u {
        let to = 3u * (lane / subgroup_size);
        subgroup_values[to] = sums.x;
        subgroup_values[to + 1u] = sums.y;
        subgroup_values[to + 2u] = third;
    }
    workgroupBarrier();
    let n_subgroups = PAIR_LANES / subgroup_size;
    let first = lane / PAIR_LANES * n_subgroups;
    var all = vec3<f32>();
    for (var i = 3u * first; i < 3u * (first + n_subgroups); i += 3u) {
        all += vec3<f32>(subgroup_values[i], subgroup_values[i + 1u], subgroup_values[i + 2u]);
    }
    return all;
}
