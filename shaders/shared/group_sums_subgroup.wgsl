// Sums over the GROUP_LANES neighbouring lanes of a group, four values at a time: within a subgroup
// by shuffles, then over the subgroups of a group through workgroup memory. Subgroups have 8 lanes
// or more, neighbours by their index in the workgroup. Expects `GROUP_LANES`, `WORKGROUP_SIZE` and
// the workgroup memory `partial_sums: array<f32>`, four values for each eight lanes of a block.

fn lanes_of_segment(subgroup_size: u32) -> u32 {
    return min(GROUP_LANES, subgroup_size);
}

// Sums of block `block`, over the lanes of a segment, to workgroup memory. Every lane must call it.
// Lanes exchange halves of what they have: the first four end with a component each.
fn put_sums(block: u32, values: vec4<f32>, lane: u32, subgroup_size: u32) {
    let is_odd = (lane & 1u) == 1u;
    let kept = select(values.xy, values.zw, is_odd);
    let pair = kept + subgroupShuffleXor(select(values.zw, values.xy, is_odd), 1u);
    let is_high = (lane & 2u) == 2u;
    let one = select(pair.x, pair.y, is_high);
    var sum = one + subgroupShuffleXor(select(pair.y, pair.x, is_high), 2u);
    for (var mask = 4u; mask < lanes_of_segment(subgroup_size); mask *= 2u) {
        sum += subgroupShuffleXor(sum, mask);
    }
    let place = lane % lanes_of_segment(subgroup_size);
    if place < 4u {
        let segment = (block * WORKGROUP_SIZE + lane) / lanes_of_segment(subgroup_size);
        partial_sums[4u * segment + 2u * (place & 1u) + place / 2u] = sum;
    }
}

// Every lane must call it between `put_sums` of `n_blocks` blocks and `group_sum`.
fn gather_sums(n_blocks: u32, lane: u32) {
    workgroupBarrier();
}

fn group_sum(block: u32, group: u32, subgroup_size: u32) -> vec4<f32> {
    let n_segments = GROUP_LANES / lanes_of_segment(subgroup_size);
    let first = block * (WORKGROUP_SIZE / lanes_of_segment(subgroup_size)) + group * n_segments;
    var sum = vec4<f32>();
    for (var i = 4u * first; i < 4u * (first + n_segments); i += 4u) {
        let next = vec2<f32>(partial_sums[i], partial_sums[i + 1u]);
        sum += vec4<f32>(next, partial_sums[i + 2u], partial_sums[i + 3u]);
    }
    return sum;
}
