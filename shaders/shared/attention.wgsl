// The keys that a row of attention sees. Expects `params.window`.
//
// The keys and values of positions 0 .. the row's own are in the KV cache. Keys are counted from
// where the row's sequence begins there; rows that share a tile or a quartet are of one sequence.

const LOWEST: f32 = -3.0e38;

// The first key that a row sees.
fn first_key(position: u32) -> u32 {
    return position + 1u - min(position + 1u, params.window);
}
