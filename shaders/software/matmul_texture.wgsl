// Outputs of a linear map for many rows: weights x[row] + bias, which become values of y or
// queries, keys and values. One invocation stands for eight outputs of eight listed rows, which
// `pack_rows` put into the texture x, the i-th one into row i. Each lane loads one or two of them.

struct Params {
    n_in_octets: u32,
    // Outputs of this matrix, and the first row of `weights` that is used, a multiple of eight.
    n_out: u32,
    weight_row: u32,
    // Which of the whole map's outputs the first one is, a multiple of eight.
    first_output: u32,
    list: u32,
    // Of rows of outputs: values from one row of `y` to the next.
    y_stride: u32,
    // Of keys and values: log2 of the places in a row of texels, and the cycles that are written.
    kv_places_log2: u32,
    first_cycle: u32,
    n_cycles: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var x: texture_storage_2d<rgba32float, read>; // [listed row][2 n_in_octets]
@group(0) @binding(2) var weights: texture_storage_2d<rgba32uint, read>; // `shared/weights_texture`
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>; // [output / 4]
@group(0) @binding(4) var<storage, read> rows: array<u32>; // see `shared/rows`
@group(0) @binding(5) var<storage, read_write> y: array<f32>; // [row][y_stride]
@group(0) @binding(6) var<storage, read> angles: array<vec4<f32>>; // [position][pair] cos, sin
@group(0) @binding(7) var q: texture_storage_2d<rgba32float, write>; // [row][head, 2 HEAD_OCTETS]
@group(0) @binding(8) var kv: texture_storage_2d_array<rgba32uint, write>; // `shared/kv_texture`

override SUBGROUP_LANES: u32 = 4u; // lanes that are sure to share a subgroup, 4 or 8
override WEIGHT_FORMAT: u32 = 0u; // 0 f32, 1 f16, 2 bf16, 3 q8_0, 4 q4_0
override OUTPUT: u32 = 0u; // 0 rows of y, 1 queries, keys and values
override HAS_BIAS: u32 = 0u;
// Of rows of y: the function of the outputs, and 1 to add to the old values (the residual stream).
override EPILOGUE: u32 = 0u; // 0 none, 1 GELU (tanh), 2 SwiGLU of (gate, up) pairs
override ACCUMULATE: u32 = 0u;
// Of queries, keys and values: the cache's format, heads, octets of a head, and rotary angles.
override KV_FORMAT: u32 = 0u; // 0 f32 (two vec4<u32> an octet), 1 f16 (one)
override N_HEADS: u32 = 1u;
override N_KV_HEADS: u32 = 1u;
override HEAD_OCTETS: u32 = 8u;
override HAS_ROPE: u32 = 0u;

#import shared/rows
#import shared/octet
#import shared/lanes
#import shared/weight_format
#import shared/weights_texture
#import shared/kv_texture
#import shared/qkv_put_texture
#import shared/qkv
#import shared/outputs

const TILE_ROWS: u32 = 8u;

// Sums of the first four outputs and of the others, by row.
struct Tile {
    a0: vec4<f32>, b0: vec4<f32>,
    a1: vec4<f32>, b1: vec4<f32>,
    a2: vec4<f32>, b2: vec4<f32>,
    a3: vec4<f32>, b3: vec4<f32>,
    a4: vec4<f32>, b4: vec4<f32>,
    a5: vec4<f32>, b5: vec4<f32>,
    a6: vec4<f32>, b6: vec4<f32>,
    a7: vec4<f32>, b7: vec4<f32>,
}

// An octet of x for each row of the tile, lane by lane: the lanes' first rows, and where there are
// but four lanes the second ones.
struct Rows {
    first: Octet,
    second: Octet,
}

// Rows past the end hold values of an earlier batch; `store_listed` drops their results.
fn x_octet(slot: u32, k: u32) -> Octet {
    let low = textureLoad(x, vec2<u32>(2u * k, slot));
    return Octet(low, textureLoad(x, vec2<u32>(2u * k + 1u, slot)));
}

fn own_rows(slot: u32, k: u32) -> Rows {
    let first = x_octet(slot, k);
    if SUBGROUP_LANES == 8u {
        return Rows(first, first);
    }
    return Rows(first, x_octet(slot + SUBGROUP_LANES, k));
}

fn row_octet(rows: Rows, r: u32) -> Octet {
    if r < SUBGROUP_LANES {
        return octet_from_lane(rows.first, r);
    }
    return octet_from_lane(rows.second, r - SUBGROUP_LANES);
}

// Adds an octet of the rows times the weights `wa` and `wb`.
fn add_octet(before: Tile, wa: Quad, wb: Quad, rows: Rows) -> Tile {
    var tile = before;
    var x: Octet;
    x = row_octet(rows, 0u);
    tile.a0 = quad_step(tile.a0, wa, x.low, x.high);
    tile.b0 = quad_step(tile.b0, wb, x.low, x.high);
    x = row_octet(rows, 1u);
    tile.a1 = quad_step(tile.a1, wa, x.low, x.high);
    tile.b1 = quad_step(tile.b1, wb, x.low, x.high);
    x = row_octet(rows, 2u);
    tile.a2 = quad_step(tile.a2, wa, x.low, x.high);
    tile.b2 = quad_step(tile.b2, wb, x.low, x.high);
    x = row_octet(rows, 3u);
    tile.a3 = quad_step(tile.a3, wa, x.low, x.high);
    tile.b3 = quad_step(tile.b3, wb, x.low, x.high);
    x = row_octet(rows, 4u);
    tile.a4 = quad_step(tile.a4, wa, x.low, x.high);
    tile.b4 = quad_step(tile.b4, wb, x.low, x.high);
    x = row_octet(rows, 5u);
    tile.a5 = quad_step(tile.a5, wa, x.low, x.high);
    tile.b5 = quad_step(tile.b5, wb, x.low, x.high);
    x = row_octet(rows, 6u);
    tile.a6 = quad_step(tile.a6, wa, x.low, x.high);
    tile.b6 = quad_step(tile.b6, wb, x.low, x.high);
    x = row_octet(rows, 7u);
    tile.a7 = quad_step(tile.a7, wa, x.low, x.high);
    tile.b7 = quad_step(tile.b7, wb, x.low, x.high);
    return tile;
}

// Adds a part of the weights, `a` and `b`, times the rows' octets from `k` on.
fn add_part(before: Tile, a: QuadTexels, b: QuadTexels, own: u32, k: u32) -> Tile {
    var tile = add_octet(before, quad_of(a, 0u), quad_of(b, 0u), own_rows(own, k));
    if octets_a_part() >= 2u {
        tile = add_octet(tile, quad_of(a, 1u), quad_of(b, 1u), own_rows(own, k + 1u));
    }
    if octets_a_part() == 4u {
        tile = add_octet(tile, quad_of(a, 2u), quad_of(b, 2u), own_rows(own, k + 2u));
        tile = add_octet(tile, quad_of(a, 3u), quad_of(b, 3u), own_rows(own, k + 3u));
    }
    return tile;
}

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
    let own = first + lane % SUBGROUP_LANES;
    // Lanes without outputs repeat the last ones: they work for the others.
    let present = min(n, (params.n_out - 1u) / 8u * 8u);
    let low = place_of(params.weight_row + present);
    let high = low + vec2<u32>(4u, 0u);
    var tile = Tile();
    let n_steps = params.n_in_octets / octets_a_step();
    for (var step = 0u; step < n_steps; step++) {
        let k = step * octets_a_step();
        tile = add_part(tile, quad_texels(low, step, 0u), quad_texels(high, step, 0u), own, k);
        if parts_a_step() == 2u {
            let next = k + octets_a_part();
            let a = quad_texels(low, step, 1u);
            tile = add_part(tile, a, quad_texels(high, step, 1u), own, next);
        }
    }
    store_listed(first + 0u, n, tile.a0, tile.b0);
    store_listed(first + 1u, n, tile.a1, tile.b1);
    store_listed(first + 2u, n, tile.a2, tile.b2);
    store_listed(first + 3u, n, tile.a3, tile.b3);
    store_listed(first + 4u, n, tile.a4, tile.b4);
    store_listed(first + 5u, n, tile.a5, tile.b5);
    store_listed(first + 6u, n, tile.a6, tile.b6);
    store_listed(first + 7u, n, tile.a7, tile.b7);
}
