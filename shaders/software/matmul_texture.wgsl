// Outputs of a linear map for many rows: weights norm(x) + bias, which become values of y or
// queries, keys and values. One invocation stands for eight outputs of TILE_ROWS listed rows; the
// i-th one is row i of the texture x, from `pack_rows`. The sums are those of `matvec_texture`.

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
// [listed row][2 n_in_octets, scale]
@group(0) @binding(1) var x: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var weights: texture_storage_2d<rgba32uint, read>; // `shared/weights_texture`
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>; // [output / 4]
@group(0) @binding(4) var<storage, read> rows: array<u32>; // see `shared/rows`
@group(0) @binding(5) var<storage, read_write> y: array<f32>; // [row][y_stride]
@group(0) @binding(6) var<storage, read> angles: array<vec4<f32>>; // [position][pair] cos, sin
@group(0) @binding(7) var q: texture_storage_2d<rgba32float, write>; // [row][head, 2 HEAD_OCTETS]
@group(0) @binding(8) var kv: texture_storage_2d_array<rgba32uint, write>; // `shared/kv_texture`

override SUBGROUP_LANES: u32 = 4u; // lanes that are sure to share a subgroup, 4 or 8
override TILE_ROWS: u32 = 8u; // 2, 4 or 8
override WEIGHT_FORMAT: u32 = 0u; // 0 f32, 1 f16, 2 bf16, 3 q8_0, 4 q4_0
override OUTPUT: u32 = 0u; // 0 rows of y, 1 queries, keys and values
override HAS_BIAS: u32 = 0u;
// Of rows of y: the function of the outputs, and 1 to add to the old values (the residual stream).
override ACTIVATION: u32 = 0u; // 0 none, 1 GELU by tanh, 2 SiLU, 3 GELU, 4 ReLU, 5 ReLU squared
override GATED: u32 = 0u; // 1: activation(gate) * up of (gate, up) pairs
override ACCUMULATE: u32 = 0u;
// Of queries, keys and values: the cache's format, heads, octets of a head, and rotary angles.
override KV_FORMAT: u32 = 0u; // 0 f32 (two vec4<u32> an octet), 1 f16 (one)
override N_HEADS: u32 = 1u;
override N_KV_HEADS: u32 = 1u;
override HEAD_OCTETS: u32 = 8u;
override HAS_ROPE: u32 = 0u;

#import shared/rows
#import shared/octet
#import shared/weight_format
#import shared/weights_texture
#import shared/four_rows
#import shared/kv_texture
#import shared/qkv_put_texture
#import shared/qkv
#import shared/activation
#import shared/outputs

// The first four rows of a tile and the last four of eight.
struct Sums {
    near: FourRows,
    far: FourRows,
}

// Octets of x that the lanes hold: one of each row of the tile, then the next one of each row, as
// many as there are lanes for. Where lanes are too few for the rows, `far` has the last four's.
struct Inputs {
    near: Octet,
    far: Octet,
}

fn octets_a_load() -> u32 {
    return max(SUBGROUP_LANES / TILE_ROWS, 1u);
}

// Two octets of quantised weights share their texels, but eight rows times two octets are more
// code than the processor's cache for it holds.
fn octets_a_turn() -> u32 {
    return select(1u, 2u, is_quantised() && octets_a_load() > 1u);
}

// Rows past the end hold values of an earlier batch; `store_listed` drops their results.
fn x_octet(slot: u32, k: u32) -> Octet {
    let at = vec2<u32>(2u * min(k, params.n_in_octets - 1u), slot);
    return Octet(textureLoad(x, at), textureLoad(x, at + vec2<u32>(1u, 0u)));
}

fn inputs(first_slot: u32, k: u32, lane: u32) -> Inputs {
    let slot = first_slot + lane % min(TILE_ROWS, SUBGROUP_LANES);
    let near = x_octet(slot, k + lane / TILE_ROWS);
    if TILE_ROWS > SUBGROUP_LANES {
        return Inputs(near, x_octet(slot + SUBGROUP_LANES, k));
    }
    return Inputs(near, near);
}

fn add(sums: Sums, w: Quad, x: Inputs, lane: u32) -> Sums {
    let near = add_octet(sums.near, w, x.near, lane);
    if TILE_ROWS < 8u {
        return Sums(near, sums.far);
    }
    return Sums(near, add_octet(sums.far, w, x.far, 4u % SUBGROUP_LANES));
}

fn put_row(slot: u32, n: u32, low: vec4<f32>, high: vec4<f32>) {
    let scale = textureLoad(x, vec2<u32>(2u * params.n_in_octets, slot)).x;
    store_listed(slot, n, scale * low, scale * high);
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    let n = 8u * id.x;
    let slot = TILE_ROWS * group.y;
    let n_rows = n_listed(params.list);
    if slot >= n_rows {
        return;
    }
    // llvmpipe may compile a kernel anew, whenever it is bound, for the values of uniforms that
    // alone decide how often a loop is gone through. There is a row, so this is `n_in_octets`.
    let n_octets = params.n_in_octets * min(n_rows, 1u);
    let lane = subgroup_lane % SUBGROUP_LANES;
    // Lanes without outputs repeat the last ones: they work for the others.
    let present = min(n, (params.n_out - 1u) / 8u * 8u);
    let low_place = place_of(params.weight_row + present);
    let high_place = low_place + vec2<u32>(4u, 0u);
    var low = Sums();
    var high = Sums();
    // Loops break at the end of their body, as in `matvec_texture`.
    var first = 0u;
    loop {
        let x = inputs(slot, first, lane);
        let end = min(octets_a_load(), n_octets - first);
        var i = 0u;
        loop {
            let k = first + i;
            let step = k / octets_a_step();
            let part = k % octets_a_step() / octets_a_part();
            let octet = k % octets_a_part() / octets_a_turn() * octets_a_turn();
            let a = quad_texels(low_place, step, part);
            let b = quad_texels(high_place, step, part);
            low = add(low, quad_of(a, octet), x, TILE_ROWS * i);
            high = add(high, quad_of(b, octet), x, TILE_ROWS * i);
            if octets_a_turn() == 2u {
                low = add(low, quad_of(a, octet + 1u), x, TILE_ROWS * (i + 1u));
                high = add(high, quad_of(b, octet + 1u), x, TILE_ROWS * (i + 1u));
            }
            i += octets_a_turn();
            if octets_a_load() == 1u || i >= end {
                break;
            }
        }
        first += octets_a_load();
        if first >= n_octets {
            break;
        }
    }
    put_row(slot, n, low.near.r0, high.near.r0);
    put_row(slot + 1u, n, low.near.r1, high.near.r1);
    if TILE_ROWS > 2u {
        put_row(slot + 2u, n, low.near.r2, high.near.r2);
        put_row(slot + 3u, n, low.near.r3, high.near.r3);
    }
    if TILE_ROWS == 8u {
        put_row(slot + 4u, n, low.far.r0, high.far.r0);
        put_row(slot + 5u, n, low.far.r1, high.far.r1);
        put_row(slot + 6u, n, low.far.r2, high.far.r2);
        put_row(slot + 7u, n, low.far.r3, high.far.r3);
    }
}
