// Lanes of a subgroup that share out loading x, and get the others' part from them: a load that
// goes through every lane costs far more than an exchange.

// Lanes that are sure to be in one subgroup, 4 or 8.
override LANES: u32 = 4u;

fn from_lane(octet: Octet, lane: u32) -> Octet {
    return Octet(subgroupShuffle(octet.low, lane), subgroupShuffle(octet.high, lane));
}

fn sum_over_lanes(value: f32) -> f32 {
    var sum = value;
    sum += subgroupShuffleXor(sum, 1u);
    sum += subgroupShuffleXor(sum, 2u);
    if LANES == 8u {
        sum += subgroupShuffleXor(sum, 4u);
    }
    return sum;
}
