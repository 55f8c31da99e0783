// History of a sampler: [tokens drawn, tokens seen, a ring of the tokens seen last].
// Expects `history: array<u32>`.

const N_DRAWN: u32 = 0u;
const N_SEEN: u32 = 1u;
const RECENT: u32 = 2u;
const WINDOW: u32 = 64u;

fn n_recent() -> u32 {
    return min(history[N_SEEN], WINDOW);
}
