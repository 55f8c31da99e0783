// The online softmax of one query head in registers, for `attention_row`. `lanes_of_key()`
// neighbouring lanes share a key: each has one octet of it, and of the head's sums of values.
// Subgroups have eight lanes or more, neighbours by their index in the workgroup, and no fewer than
// `lanes_of_key()`. Expects the overrides, the bindings and the workgroup memory of that file,
// `rows`, `octet`, `attention`, and its members of `params`.

// What a run of lanes has seen: a maximum of scores, and sums of weights and of weighted values
// relative to it.
struct Softmax {
    maximum: f32,
    sum: f32,
    values: Octet,
}

// An octet of four keys or values.
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

fn no_keys() -> Softmax {
    return Softmax(LOWEST, 0.0, Octet());
}

// The zero token seeds one run of lanes.
fn seeded(here: bool, score: f32, value: Octet) -> Softmax {
    if here {
        return Softmax(score, 1.0, value);
    }
    return no_keys();
}

fn products(query: Octet, key: Octet) -> f32 {
    return component_sum(fma(query.high, key.high, query.low * key.low));
}

// The sum over the lanes that share a key.
fn over_key(value: f32) -> f32 {
    var sum = value;
    for (var mask = 1u; mask < lanes_of_key(); mask *= 2u) {
        sum += subgroupShuffleXor(sum, mask);
    }
    return sum;
}

fn scores_of(query: Octet, keys: Four) -> vec4<f32> {
    var scores = vec4<f32>(
        products(query, keys.a),
        products(query, keys.b),
        products(query, keys.c),
        products(query, keys.d),
    );
    for (var mask = 1u; mask < lanes_of_key(); mask *= 2u) {
        scores += subgroupShuffleXor(scores, mask);
    }
    return scores;
}

// Keys that are not visible count for nothing.
fn with_keys(before: Softmax, all: vec4<f32>, visible: vec4<bool>, values: Four) -> Softmax {
    let scores = select(vec4<f32>(LOWEST), all, visible);
    let most = max(max(scores.x, scores.y), max(scores.z, scores.w));
    let maximum = max(before.maximum, most);
    let shrink = exp(before.maximum - maximum);
    let weights = select(vec4<f32>(), exp(scores - maximum), visible);
    var low = before.values.low * shrink;
    low = fma(values.a.low, vec4<f32>(weights.x), low);
    low = fma(values.b.low, vec4<f32>(weights.y), low);
    low = fma(values.c.low, vec4<f32>(weights.z), low);
    low = fma(values.d.low, vec4<f32>(weights.w), low);
    var high = before.values.high * shrink;
    high = fma(values.a.high, vec4<f32>(weights.x), high);
    high = fma(values.b.high, vec4<f32>(weights.y), high);
    high = fma(values.c.high, vec4<f32>(weights.z), high);
    high = fma(values.d.high, vec4<f32>(weights.w), high);
    let sum = fma(before.sum, shrink, component_sum(weights));
    return Softmax(maximum, sum, Octet(low, high));
}

// The softmax over all runs of a subgroup.
fn over_subgroup(mine: Softmax, subgroup_size: u32) -> Softmax {
    var all = mine;
    for (var mask = lanes_of_key(); mask < subgroup_size; mask *= 2u) {
        let maximum = max(all.maximum, subgroupShuffleXor(all.maximum, mask));
        let shrink = exp(all.maximum - maximum);
        let sum = all.sum * shrink;
        let low = all.values.low * shrink;
        let high = all.values.high * shrink;
        all = Softmax(
            maximum,
            sum + subgroupShuffleXor(sum, mask),
            Octet(low + subgroupShuffleXor(low, mask), high + subgroupShuffleXor(high, mask)),
        );
    }
    return all;
}

// The softmax over all runs of the workgroup. Lanes below 2 HEAD_OCTETS get values 4 lane .. 4 lane
// + 3 of the head, as `low`. Every lane must call it; between two calls there must be a barrier.
fn over_workgroup(mine: Softmax, lane: u32, subgroup_size: u32) -> Softmax {
    // A subgroup may have more lanes than the workgroup fills.
    let n_lanes = min(subgroup_size, WORKGROUP_SIZE);
    let of_subgroup = over_subgroup(mine, n_lanes);
    let subgroup = lane / n_lanes;
    let octet = lane % n_lanes;
    if octet < HEAD_OCTETS {
        let at = 2u * (subgroup * HEAD_OCTETS + octet);
        subgroup_values[at] = of_subgroup.values.low;
        subgroup_values[at + 1u] = of_subgroup.values.high;
    }
    if octet == 0u {
        subgroup_softmax[subgroup] = vec2<f32>(of_subgroup.maximum, of_subgroup.sum);
    }
    workgroupBarrier();
    if lane >= 2u * HEAD_OCTETS {
        return no_keys();
    }
    let n_subgroups = WORKGROUP_SIZE / n_lanes;
    var maximum = LOWEST;
    for (var i = 0u; i < n_subgroups; i++) {
        maximum = max(maximum, subgroup_softmax[i].x);
    }
    var sum = 0.0;
    var values = vec4<f32>();
    for (var i = 0u; i < n_subgroups; i++) {
        let softmax = subgroup_softmax[i];
        let weight = exp(softmax.x - maximum);
        sum = fma(softmax.y, weight, sum);
        values = fma(subgroup_values[2u * i * HEAD_OCTETS + lane], vec4<f32>(weight), values);
    }
    return Softmax(maximum, sum, Octet(values, vec4<f32>()));
}

// Writes what `over_workgroup` gave: the output and the zero attention, or the part of a split.
fn finish(all: Softmax, slot: u32, split: u32, head: u32, zero_score: f32, lane: u32) {
    if lane >= 2u * HEAD_OCTETS {
        return;
    }
    let row = listed(params.list, slot);
    let part_at = 4u * part_of(slot * N_SPLITS + split, head);
    let to = row * params.out_stride + head * params.head_dim;
    for (var i = 0u; i < 4u; i++) {
        let d = 4u * lane + i;
        if d < params.head_dim {
            if N_SPLITS > 1u {
                parts[part_at + d] = all.values.low[i];
            } else {
                out[to + d] = all.values.low[i] / all.sum;
            }
        }
    }
    if lane != 0u {
        return;
    }
    if N_SPLITS > 1u {
        let at = part_at + 8u * HEAD_OCTETS;
        parts[at] = all.maximum;
        parts[at + 1u] = all.sum;
        parts[at + 2u] = zero_score;
    } else if WRITES_ZEROS == 1u {
        let zero = select(0.0, exp(zero_score - all.maximum) / all.sum, HAS_ZERO == 1u);
        zeros[(row * params.n_middle_layers + params.middle_layer) * N_HEADS + head] = zero;
    }
}
