// logits[row] = cap tanh(m logits[row] / cap), or m logits[row] without a cap
// One invocation stands for four logits of one row.
// Rows are not padded.

struct Params {
    n_vocab: u32,
    stride: u32,
    multiplier: f32, // m
    soft_cap: f32, // 0: none
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> logits: array<f32>; // [row][stride]

const WORKGROUP_SIZE: u32 = 64u;

fn is_finite(value: f32) -> bool {
    return (bitcast<u32>(value) & 0x7f800000u) != 0x7f800000u;
}

fn capped(logit: f32) -> f32 {
    let value = params.multiplier * logit;
    // A logit that is not finite stays as it is, so that `chunk_max` finds it.
    if params.soft_cap == 0.0 || !is_finite(logit) {
        return value;
    }
    // tanh overflows on some drivers, and is 1 to the last bit from 10 on.
    return params.soft_cap * tanh(clamp(value / params.soft_cap, -15.0, 15.0));
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = 4u * group.x * WORKGROUP_SIZE + lane;
    for (var i = 0u; i < 4u; i++) {
        // Neighbouring lanes have neighbouring logits.
        let token = first + i * WORKGROUP_SIZE;
        if token < params.n_vocab {
            let at = group.y * params.stride + token;
            logits[at] = capped(logits[at]);
        }
    }
}
