// How the tokens of a sequence are drawn.

struct DrawRule {
    n_candidates: u32, // at most MAX_CANDIDATES
    top_p: u32, // in units of 2^-32; KEEP_ALL is no filter
    // How far below the largest a logit may lie.
    min_p_distance: f32,
    // From a distance to units of 2^-24 of a power of two, without and with the temperature.
    plain_scale: f32,
    tempered_scale: f32,
    seed: u32,
    // Factors of the logits of tokens seen last: of those above zero, and of the others.
    seen_positive: f32,
    seen_negative: f32,
    // 1: the sequence has biases of logits; 1: it has a mask of allowed tokens.
    has_bias: u32,
    has_mask: u32,
}
