// The history of each sequence: [position of its newest row, the token drawn last, a ring of the
// tokens seen last by their places in the text]. The ring is longer than the window that is looked
// at, so that it holds tokens that are drawn and then given up. Expects `history: array<u32>`.

const HISTORY_WORDS: u32 = 130u;
const NEWEST: u32 = 0u;
const LAST_ID: u32 = 1u;
const RING: u32 = 2u;
const RING_PLACES: u32 = 128u;
const WINDOW: u32 = 64u;

fn history_of(sequence: u32) -> u32 {
    return sequence * HISTORY_WORDS;
}

// Where the token at a place of the text is.
fn ring_at(start: u32, place: u32) -> u32 {
    return start + RING + place % RING_PLACES;
}
