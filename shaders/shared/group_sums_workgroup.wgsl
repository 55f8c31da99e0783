// Sums over the GROUP_LANES neighbouring lanes of a group, four values at a time, through workgroup
// memory: over eight neighbours, then over the eights of a group. Expects `GROUP_LANES`,
// `WORKGROUP_SIZE` and the workgroup memory `partial_sums: array<vec4<f32>>`, a value for each lane
// of a block.

// Values of block `block` to workgroup memory.
fn put_sums(block: u32, values: vec4<f32>, lane: u32, subgroup_size: u32) {
    partial_sums[block * WORKGROUP_SIZE + lane] = values;
}

// Every lane must call it between `put_sums` of `n_blocks` blocks and `group_sum`. The first of
// eight places gets their sum.
fn gather_sums(n_blocks: u32, lane: u32) {
    workgroupBarrier();
    for (var i = 8u * lane; i < n_blocks * WORKGROUP_SIZE; i += 8u * WORKGROUP_SIZE) {
        let low = partial_sums[i] + partial_sums[i + 1u];
        let first = low + (partial_sums[i + 2u] + partial_sums[i + 3u]);
        let high = partial_sums[i + 4u] + partial_sums[i + 5u];
        partial_sums[i] = first + (high + (partial_sums[i + 6u] + partial_sums[i + 7u]));
    }
    workgroupBarrier();
}

fn group_sum(block: u32, group: u32, subgroup_size: u32) -> vec4<f32> {
    let first = block * WORKGROUP_SIZE + group * GROUP_LANES;
    var sum = vec4<f32>();
    for (var i = first; i < first + GROUP_LANES; i += 8u) {
        sum += partial_sums[i];
    }
    return sum;
}
