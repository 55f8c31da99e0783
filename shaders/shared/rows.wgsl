// The rows of a batch, and lists of them.
//
// `rows` begins with two values for each row: its position in its sequence, and the place in the
// cache where that sequence begins. Then come lists, each a count followed by row numbers in
// rising order. A list is named by the index of its count.
// Expects `rows: array<u32>`.

fn n_listed(list: u32) -> u32 {
    return rows[list];
}

fn listed(list: u32, i: u32) -> u32 {
    return rows[list + 1u + i];
}

fn position_of(row: u32) -> u32 {
    return rows[2u * row];
}

fn cache_start_of(row: u32) -> u32 {
    return rows[2u * row + 1u];
}
