// The history of each sequence: [position of its newest row, the token drawn last, tokens seen, a
// ring of the tokens seen last]. Expects `history: array<u32>`.

const HISTORY_WORDS: u32 = 67u;
const NEWEST: u32 = 0u;
const LAST_ID: u32 = 1u;
const N_SEEN: u32 = 2u;
const RECENT: u32 = 3u;
const WINDOW: u32 = 64u;

fn history_of(sequence: u32) -> u32 {
    return sequence * HISTORY_WORDS;
}

fn n_recent(start: u32) -> u32 {
    return min(history[start + N_SEEN], WINDOW);
}
