// logits[id] times a factor, for the tokens seen last
// One workgroup stands for a row of logits, a lane for one of its sequence's recent tokens.
// A token that is in the window several times is changed once.

struct Params {
    n_vocab: u32,
    stride: u32,
    list: u32, // the rows that the rows of logits belong to
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> draw_rules: array<DrawRule>; // [sequence]
@group(0) @binding(2) var<storage, read> history: array<u32>; // see `shared/history`
@group(0) @binding(3) var<storage, read> rows: array<u32>; // see `shared/rows`
@group(0) @binding(4) var<storage, read_write> logits: array<f32>; // [row][stride]

#import shared/rows
#import shared/history
#import shared/draw_rule
#import shared/finite

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    if group.y >= n_listed(params.list) {
        return;
    }
    let row = listed(params.list, group.y);
    let sequence = sequence_of(row);
    let start = history_of(sequence);
    let place = next_place_of(row);
    if lane >= min(place, WINDOW) {
        return;
    }
    let id = history[ring_at(start, place - 1u - lane)];
    for (var i = 0u; i < lane; i++) {
        if history[ring_at(start, place - 1u - i)] == id {
            return;
        }
    }
    let at = group.y * params.stride + id;
    // A logit that is not finite stays as it is, so that `chunk_max` finds it.
    if id >= params.n_vocab || !is_finite(logits[at]) {
        return;
    }
    let value = logits[at];
    let positive = draw_rules[sequence].seen_positive;
    let factor = select(draw_rules[sequence].seen_negative, positive, value > 0.0);
    logits[at] = clamp(value * factor, -LARGEST, LARGEST);
}
