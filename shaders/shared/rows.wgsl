// The rows of a batch, and lists of them.
//
// `rows` begins with ROW_WORDS values for each row: its position in its sequence, the place in the
// cache where that sequence begins, which sequence it is, when the row leaves the cycles (after how
// many at least and at most, and at which score, f32), and how many tokens of the text lie before
// its sequence, modulo 2^32. Then come lists, each a count followed by row numbers. A list is named
// by the index of its count.
// Expects `rows: array<u32>`.

const ROW_WORDS: u32 = 7u;
const POSITION: u32 = 0u;

fn n_listed(list: u32) -> u32 {
    return rows[list];
}

fn listed(list: u32, i: u32) -> u32 {
    return rows[list + 1u + i];
}

fn position_of(row: u32) -> u32 {
    return rows[ROW_WORDS * row + POSITION];
}

fn cache_start_of(row: u32) -> u32 {
    return rows[ROW_WORDS * row + 1u];
}

fn sequence_of(row: u32) -> u32 {
    return rows[ROW_WORDS * row + 2u];
}

fn min_cycles_of(row: u32) -> u32 {
    return rows[ROW_WORDS * row + 3u];
}

fn max_cycles_of(row: u32) -> u32 {
    return rows[ROW_WORDS * row + 4u];
}

fn threshold_of(row: u32) -> f32 {
    return bitcast<f32>(rows[ROW_WORDS * row + 5u]);
}

// The place in the text of the token that is drawn after a row.
fn next_place_of(row: u32) -> u32 {
    return position_of(row) + 1u + rows[ROW_WORDS * row + 6u];
}
