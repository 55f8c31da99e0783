// Root-mean-square normalisation of each query and key head of listed rows, in place.
// One workgroup stands for one head of one row.
// A row holds the query heads, then the key heads, then the values.

struct Params {
    n_heads: u32,    // query heads
    first_head: u32, // the first workgroup's head
    head_dim: u32,
    stride: u32,
    list: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weight: array<f32>;    // [query, key][head_dim]
@group(0) @binding(2) var<storage, read> rows: array<u32>;
@group(0) @binding(3) var<storage, read_write> qkv: array<f32>; // [row][stride]

#import shared/rows
#import shared/workgroup_sum

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    if group.y >= n_listed(params.list) {
        return;
    }
    let head = params.first_head + group.x;
    let start = listed(params.list, group.y) * params.stride + head * params.head_dim;
    let weight_at = select(0u, params.head_dim, head >= params.n_heads);
    var squares = 0.0;
    for (var d = lane; d < params.head_dim; d += LANES) {
        squares = fma(qkv[start + d], qkv[start + d], squares);
    }
    let mean = workgroup_sum(squares, lane) / f32(params.head_dim);
    let scale = 1.0 / sqrt(mean + params.eps);
    for (var d = lane; d < params.head_dim; d += LANES) {
        qkv[start + d] *= scale * weight[weight_at + d];
    }
}
