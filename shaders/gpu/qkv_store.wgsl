// Queries, keys and values from projected rows: query and key heads pass a norm of their own.
// One invocation stands for eight values of one head of a listed row.

struct Params {
    n_in_octets: u32,
    // Outputs of this matrix, and the first row of `weights` that is used, a multiple of eight.
    n_out: u32,
    weight_row: u32,
    // Which of the whole map's outputs the first one is, a multiple of eight.
    first_output: u32,
    list: u32,
    has_bias: u32,
    // The norm that inputs pass first (`shared/normed`): their number without the padding.
    n_cols: u32,
    eps: f32,
    // Where rows of outputs go (`shared/store_rows`): values of a row of `y`, and 1 to add to its
    // old values (the residual stream).
    y_stride: u32,
    accumulate: u32,
    // Where queries, keys and values go (`shared/store_qkv`).
    n_heads: u32,
    n_kv_heads: u32,
    head_octets: u32,
    has_rope: u32,
    kv_places: u32,
    first_cycle: u32,
    n_cycles: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> projected: array<vec4<f32>>; // [row][y_stride / 4]
@group(0) @binding(2) var<storage, read> norm: array<vec4<f32>>; // [query, key][2 head_octets]
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>; // [output / 4]
@group(0) @binding(4) var<storage, read> rows: array<u32>; // see `shared/rows`
@group(0) @binding(5) var<storage, read> angles: array<vec4<f32>>; // [position][pair] cos, sin
@group(0) @binding(6) var<storage, read_write> q: array<vec4<f32>>; // [row][head][2 head_octets]
@group(0) @binding(7) var<storage, read_write> kv: array<vec4<u32>>; // see `shared/kv_cache`

override KV_FORMAT: u32 = 0u; // 0 f32 (two vec4<u32> an octet), 1 f16 (one)

#import shared/rows
#import shared/linear
#import shared/kv_cache
#import shared/kv_put_buffer
#import shared/qkv_octet

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
) {
    if group.y >= n_listed(params.list) || 8u * id.x >= params.n_out {
        return;
    }
    let row = listed(params.list, group.y);
    let output = params.first_output + 8u * id.x;
    let head = output / 8u / params.head_octets;
    let octet = output / 8u % params.head_octets;
    let width = 2u * params.head_octets;
    let start = row * (params.y_stride / 4u) + head * width;
    var low = projected[start + 2u * octet];
    var high = projected[start + 2u * octet + 1u];
    if head < params.n_heads + params.n_kv_heads {
        var squares = vec4<f32>();
        for (var i = 0u; i < width; i++) {
            squares = fma(projected[start + i], projected[start + i], squares);
        }
        let sum = (squares.x + squares.y) + (squares.z + squares.w);
        let scale = 1.0 / sqrt(sum / f32(params.n_cols) + params.eps);
        let at = select(0u, width, head >= params.n_heads) + 2u * octet;
        low *= scale * norm[at];
        high *= scale * norm[at + 1u];
    }
    store_octet(row, output, low, high);
}
