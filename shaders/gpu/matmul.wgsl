// Outputs of a linear map for many rows: weights x[row] + bias, which become values of y or
// queries, keys and values. One workgroup stands for 64 outputs of 32 listed rows, a lane for eight
// outputs of four rows.

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
    // Of keys and values: places of the cache, and the cycles that are written.
    kv_places: u32,
    first_cycle: u32,
    n_cycles: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [row][2 n_in_octets]
@group(0) @binding(2) var<storage, read> weights: array<vec4<u32>>; // see `shared/weights`
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>; // [output / 4]
@group(0) @binding(4) var<storage, read> rows: array<u32>; // see `shared/rows`
// [row][y_stride] of outputs, or [row][head][8 HEAD_OCTETS] of queries
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<storage, read> angles: array<vec4<f32>>; // [position][pair] cos, sin
@group(0) @binding(7) var<storage, read_write> kv: array<vec4<u32>>; // see `shared/kv_buffer`

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
#import shared/weights
#import shared/kv_buffer
#import shared/q_put_buffer
#import shared/kv_put_buffer
#import shared/qkv
#import shared/activation
#import shared/outputs

const STEP: u32 = 32u; // inputs
const OCTETS: u32 = 4u; // of a step
const TILE_OUTPUTS: u32 = 64u;
const TILE_ROWS: u32 = 32u;

// Weights and x of a step, each as the lanes want them: four outputs, or four rows, of one input.
var<workgroup> w_tile: array<vec4<f32>, 512>; // [input][outputs / 4]
var<workgroup> x_tile: array<vec4<f32>, 256>; // [input][rows / 4]

// Four octets, turned: from eight values of each to four octets' values of each.
fn put_w(at: u32, a: Octet, b: Octet, c: Octet, d: Octet) {
    for (var i = 0u; i < 4u; i++) {
        w_tile[at + i * 16u] = vec4<f32>(a.low[i], b.low[i], c.low[i], d.low[i]);
        w_tile[at + (i + 4u) * 16u] = vec4<f32>(a.high[i], b.high[i], c.high[i], d.high[i]);
    }
}

fn put_x(at: u32, a: Octet, b: Octet, c: Octet, d: Octet) {
    for (var i = 0u; i < 4u; i++) {
        x_tile[at + i * 8u] = vec4<f32>(a.low[i], b.low[i], c.low[i], d.low[i]);
        x_tile[at + (i + 4u) * 8u] = vec4<f32>(a.high[i], b.high[i], c.high[i], d.high[i]);
    }
}

// An octet of an output's weights. Past the last output the last one is repeated, and its result
// is dropped; past the last input there are zeros.
fn w_octet(output: u32, octet: u32) -> Octet {
    if octet >= params.n_in_octets {
        return Octet(vec4<f32>(), vec4<f32>());
    }
    let row = params.weight_row + min(output, params.n_out - 1u);
    return weight_octet(row, octet, params.n_in_octets);
}

fn x_octet(slot: u32, octet: u32) -> Octet {
    if octet >= params.n_in_octets {
        return Octet(vec4<f32>(), vec4<f32>());
    }
    let row = listed(params.list, min(slot, n_listed(params.list) - 1u));
    let at = 2u * (row * params.n_in_octets + octet);
    return Octet(x[at], x[at + 1u]);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first_output = group.x * TILE_OUTPUTS;
    let first_slot = group.y * TILE_ROWS;
    if first_slot >= n_listed(params.list) || first_output >= params.n_out {
        return;
    }
    let lane_outputs = lane % 8u;
    let lane_rows = lane / 8u;
    // Each lane loads an octet of four outputs, and half of the lanes an octet of four rows.
    let bring_octet = lane % OCTETS;
    let bring_quad = lane / OCTETS;
    var low0 = vec4<f32>();
    var low1 = vec4<f32>();
    var low2 = vec4<f32>();
    var low3 = vec4<f32>();
    var high0 = vec4<f32>();
    var high1 = vec4<f32>();
    var high2 = vec4<f32>();
    var high3 = vec4<f32>();
    for (var first_octet = 0u; first_octet < params.n_in_octets; first_octet += OCTETS) {
        let octet = first_octet + bring_octet;
        let output = first_output + 4u * bring_quad;
        put_w(
            8u * bring_octet * 16u + bring_quad,
            w_octet(output, octet),
            w_octet(output + 1u, octet),
            w_octet(output + 2u, octet),
            w_octet(output + 3u, octet),
        );
        if bring_quad < 8u {
            let slot = first_slot + 4u * bring_quad;
            put_x(
                8u * bring_octet * 8u + bring_quad,
                x_octet(slot, octet),
                x_octet(slot + 1u, octet),
                x_octet(slot + 2u, octet),
                x_octet(slot + 3u, octet),
            );
        }
        workgroupBarrier();
        for (var k = 0u; k < STEP; k++) {
            let w_low = w_tile[k * 16u + 2u * lane_outputs];
            let w_high = w_tile[k * 16u + 2u * lane_outputs + 1u];
            let v = x_tile[k * 8u + lane_rows];
            low0 = fma(w_low, vec4<f32>(v.x), low0);
            low1 = fma(w_low, vec4<f32>(v.y), low1);
            low2 = fma(w_low, vec4<f32>(v.z), low2);
            low3 = fma(w_low, vec4<f32>(v.w), low3);
            high0 = fma(w_high, vec4<f32>(v.x), high0);
            high1 = fma(w_high, vec4<f32>(v.y), high1);
            high2 = fma(w_high, vec4<f32>(v.z), high2);
            high3 = fma(w_high, vec4<f32>(v.w), high3);
        }
        workgroupBarrier();
    }
    let n = first_output + 8u * lane_outputs;
    let slot = first_slot + 4u * lane_rows;
    store_listed(slot, n, low0, high0);
    store_listed(slot + 1u, n, low1, high1);
    store_listed(slot + 2u, n, low2, high2);
    store_listed(slot + 3u, n, low3, high3);
}
