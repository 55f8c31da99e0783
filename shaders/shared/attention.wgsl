// The keys that a row of attention sees, its output, and the parts of that under split-K. Expects
// `N_HEADS`, `HEAD_OCTETS` and `params.window`.
//
// The keys and values of positions 0 .. the row's own are in the KV cache. Keys are counted from
// where the row's sequence begins there; rows that share a tile or a quartet are of one sequence.

const LOWEST: f32 = -3.0e38; // the score of no key

// The first key that a row sees.
fn first_key(position: u32) -> u32 {
    return position + 1u - min(position + 1u, params.window);
}

// Where a head's output begins: there is no padding between the heads of a row, but rows are padded
// to octets.
fn out_at(row: u32, head: u32, head_dim: u32) -> u32 {
    return row * ((N_HEADS * head_dim + 7u) / 8u * 8u) + head * head_dim;
}

// Where a head's part of a split begins, in vec4: its sum of values, not yet divided, and a vec4 of
// the maximum, the sum of weights, and the zero token's score. Splits are counted over all rows.
fn part_of(split: u32, head: u32) -> u32 {
    return (split * N_HEADS + head) * (2u * HEAD_OCTETS + 1u);
}
