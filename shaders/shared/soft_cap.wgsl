// The soft cap of attention scores, which some models have. Expects `SOFT_CAP`.

// A score on its way into the softmax; `cap` is in the unit that scores are counted in.
fn capped(score: f32, cap: f32) -> f32 {
    if SOFT_CAP == 0u {
        return score;
    }
    // tanh overflows on some drivers, and is 1 to the last bit from 10 on.
    return cap * tanh(clamp(score / cap, -15.0, 15.0));
}

fn four_capped(scores: vec4<f32>, cap: f32) -> vec4<f32> {
    let near = vec2<f32>(capped(scores.x, cap), capped(scores.y, cap));
    return vec4<f32>(near, capped(scores.z, cap), capped(scores.w, cap));
}
