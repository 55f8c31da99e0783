// maxima[chunk] = the largest of the chunk's logits, as a key
// One invocation stands for one chunk of the vocabulary.
// `logits` is padded to whole quads.

struct Params {
    n_vocab: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<vec4<u32>>; // [n_quads]
@group(0) @binding(2) var<storage, read_write> maxima: array<u32>; // [chunk]

#import shared/logit_keys

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let chunk = id.x;
    var largest = vec4<u32>(NONE);
    for (var quad = chunk; quad < n_quads(); quad += N_CHUNKS) {
        largest = max(largest, quad_keys(quad));
    }
    let pair = max(largest.xy, largest.zw);
    maxima[chunk] = max(pair.x, pair.y);
}
