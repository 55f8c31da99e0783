// y[row] = epilogue(weights x[row] + bias), for many rows, weights and x in textures.
// One invocation stands for eight outputs of eight listed rows. `pack_rows` put the listed rows of
// x into the texture, the i-th one into its row i. Each lane loads one or two of the eight.

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
@group(0) @binding(1) var x: texture_storage_2d<rgba32float, read>; // [listed row][2 n_in_octets]
// See `shared/weights_texture`
@group(0) @binding(2) var weights: texture_storage_2d<rgba32uint, read>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>; // [output / 4]
@group(0) @binding(4) var<storage, read> rows: array<u32>; // see `shared/rows`
@group(0) @binding(5) var<storage, read_write> y: array<f32>; // [row][y_stride]

override EPILOGUE: u32 = 0u; // 0 none, 1 GELU (tanh), 2 SwiGLU of (gate, up) pairs
override WEIGHT_FORMAT: u32 = 0u; // 0 f32, 1 f16, 2 bf16, 3 q8_0, 4 q4_0
// Lanes that are sure to be in one subgroup, 4 or 8.
override LANES: u32 = 4u;

#import shared/rows
#import shared/linear
#import shared/store_rows
#import shared/octet
#import shared/lanes
#import shared/weights_texture
#import shared/quad
#import shared/matmul_texture

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let n = 8u * id.x;
    let first = TILE_ROWS * group.y;
    if first >= n_listed(params.list) {
        return;
    }
    let own = first + lane % LANES;
    let low = place_of(params.weight_row + present_output(n));
    let high = low + vec2<u32>(4u, 0u);
    var tile = Tile();
    let n_steps = params.n_in_octets / octets_a_step();
    for (var step = 0u; step < n_steps; step++) {
        let k = step * octets_a_step();
        tile = add_part(tile, quad_texels(low, step, 0u), quad_texels(high, step, 0u), own, k);
        if parts_a_step() == 2u {
            let next = k + octets_a_part();
            tile = add_part(tile, quad_texels(low, step, 1u), quad_texels(high, step, 1u), own, next);
        }
    }
    finish(first + 0u, n, tile.a0, tile.b0);
    finish(first + 1u, n, tile.a1, tile.b1);
    finish(first + 2u, n, tile.a2, tile.b2);
    finish(first + 3u, n, tile.a3, tile.b3);
    finish(first + 4u, n, tile.a4, tile.b4);
    finish(first + 5u, n, tile.a5, tile.b5);
    finish(first + 6u, n, tile.a6, tile.b6);
    finish(first + 7u, n, tile.a7, tile.b7);
}
