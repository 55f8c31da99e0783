// logits[token] + bias, or the lowest number where the token is not allowed
// One invocation stands for the 32 tokens of a word of the mask, of one row of logits.
// Rows of `logits` have `stride` values. A logit that is not finite stays as it is.

struct Params {
    n_vocab: u32,
    stride: u32,
    list: u32, // the rows that the rows of logits belong to
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> draw_rules: array<DrawRule>; // [sequence]
@group(0) @binding(2) var<storage, read> biases: array<f32>; // [sequence][stride]
@group(0) @binding(3) var<storage, read> masks: array<u32>; // [sequence][stride / 32, rounded up]
@group(0) @binding(4) var<storage, read> rows: array<u32>; // see `shared/rows`
@group(0) @binding(5) var<storage, read_write> logits: array<f32>; // [row][stride]

#import shared/rows
#import shared/draw_rule
#import shared/finite

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
) {
    let first = 32u * id.x;
    if group.y >= n_listed(params.list) || first >= params.n_vocab {
        return;
    }
    let sequence = sequence_of(listed(params.list, group.y));
    let has_bias = draw_rules[sequence].has_bias == 1u;
    var allowed = 0xffffffffu;
    if draw_rules[sequence].has_mask == 1u {
        allowed = masks[sequence * ((params.stride + 31u) / 32u) + id.x];
    }
    if !has_bias && allowed == 0xffffffffu {
        return;
    }
    for (var token = first; token < min(first + 32u, params.n_vocab); token++) {
        let at = group.y * params.stride + token;
        let logit = logits[at];
        if !is_finite(logit) {
            continue;
        }
        var value = logit;
        if has_bias {
            let bias = biases[sequence * params.stride + token];
            value = clamp(logit + bias, -LARGEST, LARGEST);
        }
        let is_allowed = (allowed & (1u << (token - first))) != 0u;
        logits[at] = select(-LARGEST, value, is_allowed);
    }
}
