// y[row] = epilogue(weights x[row] + bias), for many rows.
// One workgroup stands for 64 outputs of 32 listed rows, a lane for eight outputs of four rows.

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
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [row][2 n_in_octets]
@group(0) @binding(2) var<storage, read> weights: array<vec4<u32>>; // [row of weights][octets]
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>; // [output / 4]
@group(0) @binding(4) var<storage, read> rows: array<u32>; // see `shared/rows`
@group(0) @binding(5) var<storage, read_write> y: array<f32>; // [row][y_stride]

override EPILOGUE: u32 = 0u; // 0 none, 1 GELU (tanh), 2 SwiGLU of (gate, up) pairs
override WEIGHT_FORMAT: u32 = 0u; // 0 f32, 1 f16, 2 bf16, 3 q8_0, 4 q4_0

#import shared/rows
#import shared/linear
#import shared/store_rows
#import shared/octet
#import shared/weights
#import shared/matmul

var<workgroup> w_tile: array<vec4<f32>, 512>; // [input][outputs / 4]
var<workgroup> x_tile: array<vec4<f32>, 256>; // [input][rows / 4]

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
    finish(slot, n, low0, high0);
    finish(slot + 1u, n, low1, high1);
    finish(slot + 2u, n, low2, high2);
    finish(slot + 3u, n, low3, high3);
}
