// Lanes of a subgroup that share out the loads of values that all of them need, and exchange them:
// on some adapters a load goes through lane after lane, and costs far more than an exchange.
// Expects `SUBGROUP_LANES` and `octet`.

fn from_lane(value: vec4<f32>, lane: u32) -> vec4<f32> {
    return subgroupShuffle(value, lane);
}

// The octet that a lane holds.
fn octet_from_lane(own: Octet, lane: u32) -> Octet {
    return Octet(from_lane(own.low, lane), from_lane(own.high, lane));
}

fn sum_over_lanes(value: f32) -> f32 {
    var sum = value;
    sum += subgroupShuffleXor(sum, 1u);
    sum += subgroupShuffleXor(sum, 2u);
    if SUBGROUP_LANES == 8u {
        sum += subgroupShuffleXor(sum, 4u);
    }
    return sum;
}

fn max_over_lanes(value: f32) -> f32 {
    var largest = value;
    largest = max(largest, subgroupShuffleXor(largest, 1u));
    largest = max(largest, subgroupShuffleXor(largest, 2u));
    if SUBGROUP_LANES == 8u {
        largest = max(largest, subgroupShuffleXor(largest, 4u));
    }
    return largest;
}
