// The online softmax of one query vector, an item of a tile, in registers. `lanes_of_key()`
// neighbouring lanes share a key: each has one octet of it, and of the item's sums of values.
// Subgroups have eight lanes or more, neighbours by their index in the workgroup, and no fewer than
// `lanes_of_key()`. Expects the overrides and the workgroup memory of `attention_subgroup`, `octet`
// and `attention`.
//
// Scores count in powers of two: queries are scaled by log2(e) on top of `params.scale`, and so is
// the soft cap.

const LOG2_E: f32 = 1.44269504;
const LN_2: f32 = 0.69314718;
// The maximum of no keys: so far above LOWEST that a key that is not visible has weight 0.
const NO_MAXIMUM: f32 = -1.0e38;

// What a run of lanes has seen: a maximum of scores, and sums of weights and of weighted values
// relative to it.
struct Softmax {
    maximum: f32,
    sum: f32,
    values: Octet,
}

// An octet of the keys or values of a step; the second half only of four.
struct Four {
    a: Octet,
    b: Octet,
    c: Octet,
    d: Octet,
}

// HEAD_OCTETS, rounded up to a power of two.
fn lanes_of_key() -> u32 {
    return 1u << (32u - countLeadingZeros(HEAD_OCTETS - 1u));
}

fn with_product(sum: f32, a: vec4<f32>, b: vec4<f32>) -> f32 {
    return fma(a.w, b.w, fma(a.z, b.z, fma(a.y, b.y, fma(a.x, b.x, sum))));
}

fn product(query: Octet, key: Octet) -> f32 {
    return with_product(with_product(0.0, query.low, key.low), query.high, key.high);
}

// The sums over the lanes that share a key.
fn over_key(products: vec2<f32>) -> vec2<f32> {
    var sums = products;
    for (var mask = 1u; mask < lanes_of_key(); mask *= 2u) {
        sums += subgroupShuffleXor(sums, mask);
    }
    return sums;
}

fn scores_of(query: Octet, keys: Four) -> vec4<f32> {
    let first = over_key(vec2<f32>(product(query, keys.a), product(query, keys.b)));
    if KEYS_PER_STEP == 2u {
        return vec4<f32>(first, LOWEST, LOWEST);
    }
    let second = over_key(vec2<f32>(product(query, keys.c), product(query, keys.d)));
    return vec4<f32>(first, second);
}

// Keys that are not visible change nothing.
fn with_keys(before: Softmax, all: vec4<f32>, visible: vec4<bool>, values: Four) -> Softmax {
    let scores = select(vec4<f32>(LOWEST), all, visible);
    var maximum = max(before.maximum, max(scores.x, scores.y));
    if KEYS_PER_STEP == 4u {
        maximum = max(maximum, max(scores.z, scores.w));
    }
    let shrink = exp2(before.maximum - maximum);
    let weights = exp2(scores - maximum);
    var sum = fma(before.sum, shrink, weights.x + weights.y);
    var low = before.values.low * shrink;
    var high = before.values.high * shrink;
    low = fma(values.a.low, vec4<f32>(weights.x), low);
    high = fma(values.a.high, vec4<f32>(weights.x), high);
    low = fma(values.b.low, vec4<f32>(weights.y), low);
    high = fma(values.b.high, vec4<f32>(weights.y), high);
    if KEYS_PER_STEP == 4u {
        sum += weights.z + weights.w;
        low = fma(values.c.low, vec4<f32>(weights.z), low);
        high = fma(values.c.high, vec4<f32>(weights.z), high);
        low = fma(values.d.low, vec4<f32>(weights.w), low);
        high = fma(values.d.high, vec4<f32>(weights.w), high);
    }
    return Softmax(maximum, sum, Octet(low, high));
}

// A subgroup may have more lanes than the workgroup fills.
fn lanes_of_subgroup(subgroup_size: u32) -> u32 {
    return min(subgroup_size, WORKGROUP_SIZE);
}

// The softmax over all runs of a subgroup, to workgroup memory.
fn stage(mine: Softmax, lane: u32, subgroup_size: u32) {
    let n_lanes = lanes_of_subgroup(subgroup_size);
    var all = mine;
    for (var mask = lanes_of_key(); mask < n_lanes; mask *= 2u) {
        let maximum = max(all.maximum, subgroupShuffleXor(all.maximum, mask));
        let shrink = exp2(all.maximum - maximum);
        let sum = all.sum * shrink;
        let low = all.values.low * shrink;
        let high = all.values.high * shrink;
        all = Softmax(
            maximum,
            sum + subgroupShuffleXor(sum, mask),
            Octet(low + subgroupShuffleXor(low, mask), high + subgroupShuffleXor(high, mask)),
        );
    }
    let subgroup = lane / n_lanes;
    let octet = lane % n_lanes;
    if octet < HEAD_OCTETS {
        let at = 2u * (subgroup * HEAD_OCTETS + octet);
        subgroup_values[at] = all.values.low;
        subgroup_values[at + 1u] = all.values.high;
    }
    if octet == 0u {
        subgroup_softmax[subgroup] = vec2<f32>(all.maximum, all.sum);
    }
}

// Of the workgroup, with the sum of one of the values.
struct Staged {
    maximum: f32,
    sum: f32,
    value: f32,
}

fn staged(d: u32, n_subgroups: u32) -> Staged {
    var maximum = NO_MAXIMUM;
    for (var i = 0u; i < n_subgroups; i++) {
        maximum = max(maximum, subgroup_softmax[i].x);
    }
    var sum = 0.0;
    var value = 0.0;
    for (var i = 0u; i < n_subgroups; i++) {
        let softmax = subgroup_softmax[i];
        let weight = exp2(softmax.x - maximum);
        sum = fma(softmax.y, weight, sum);
        value = fma(subgroup_values[2u * i * HEAD_OCTETS + d / 4u][d % 4u], weight, value);
    }
    return Staged(maximum, sum, value);
}
