// maxima[row][chunk] = the largest of the chunk's logits, as a key
// PARTS lanes stand for one chunk of a row; neighbours read neighbouring quads.
// Rows of `logits` are padded to whole quads.

struct Params {
    n_vocab: u32,
    row_quads: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<vec4<u32>>; // [row][row_quads]
@group(0) @binding(2) var<storage, read_write> maxima: array<u32>; // [row][chunk]

override PARTS: u32 = 1u; // a power of two, at most 64

#import shared/logit_keys

var<workgroup> part_maxima: array<u32, 64>; // [part][chunk]

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let n_chunks = 64u / PARTS;
    let chunk = group.x * n_chunks + lane % n_chunks;
    var all = vec4<u32>(NONE);
    for (var i = chunk + lane / n_chunks * N_CHUNKS; i < n_quads(); i += PARTS * N_CHUNKS) {
        all = max(all, quad_keys(group.y * params.row_quads, i));
    }
    let pair = max(all.xy, all.zw);
    part_maxima[lane] = max(pair.x, pair.y);
    workgroupBarrier();
    if lane < n_chunks {
        var largest = part_maxima[lane];
        for (var part = 1u; part < PARTS; part++) {
            largest = max(largest, part_maxima[part * n_chunks + lane]);
        }
        maxima[group.y * N_CHUNKS + chunk] = largest;
    }
}
