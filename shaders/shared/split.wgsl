// Split-K: where few rows are to keep a device busy (decode), keys are split among workgroups.
// Split s has keys s * split_keys on, and writes its part of a row's output to `parts`, for
// `merge`. The zero token belongs to the first split that a row sees. `n_splits` counts those of a
// full KV cache; 1: nothing is split.
// Expects `n_splits`, `n_heads` and `head_octets` in `params`.

// Where the part of a split begins in `parts`, in vec4: a head's sum of values, not yet divided,
// and a vec4 of the maximum, the sum of weights, and the zero token's score.
fn part_of(slot: u32, split: u32, head: u32) -> u32 {
    let part = (slot * params.n_splits + split) * params.n_heads + head;
    return part * (2u * params.head_octets + 1u);
}
