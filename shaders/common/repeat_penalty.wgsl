// logits[id] times a factor, for the tokens seen last
// One workgroup stands for the window of recent tokens, a lane for one of them.
// A token that is in the window several times is changed once.

struct Params {
    // Of logits above zero, and of the others.
    positive: f32,
    negative: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> history: array<u32>; // [drawn, seen, recent ids]
@group(0) @binding(2) var<storage, read_write> logits: array<f32>; // [n_vocab]

#import shared/history

const LARGEST: f32 = 0x1.fffffep+127f;

fn is_finite(value: f32) -> bool {
    return (bitcast<u32>(value) & 0x7f800000u) != 0x7f800000u;
}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    if lane >= n_recent() {
        return;
    }
    let id = history[RECENT + lane];
    for (var i = 0u; i < lane; i++) {
        if history[RECENT + i] == id {
            return;
        }
    }
    // A logit that is not finite stays as it is, so that `chunk_max` finds it.
    if id >= arrayLength(&logits) || !is_finite(logits[id]) {
        return;
    }
    let value = logits[id];
    let factor = select(params.negative, params.positive, value > 0.0);
    logits[id] = clamp(value * factor, -LARGEST, LARGEST);
}
