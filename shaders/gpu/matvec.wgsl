// Outputs of a linear map for few rows, as `matvec_subgroup` computes them, for adapters without
// subgroups. GROUP_LANES lanes stand for OUTPUTS neighbouring outputs of ROWS listed rows, a
// workgroup for WORKGROUP_SIZE / GROUP_LANES such groups; they add through workgroup memory.

struct Params {
    n_in_octets: u32,
    // Outputs of this matrix, and the first row of `weights` that is used, a multiple of eight.
    n_out: u32,
    weight_row: u32,
    // Which of the whole map's outputs the first one is, a multiple of eight.
    first_output: u32,
    list: u32,
    // Of the norm: inputs without their padding, and what is added to their variance.
    n_cols: u32,
    eps: f32,
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
@group(0) @binding(7) var<storage, read_write> kv: array<u32>; // words, see `shared/kv_buffer`
@group(0) @binding(8) var<storage, read> norm: array<vec4<f32>>; // [weights, biases][2 n_in_octets]

// Powers of two from 8 to 256, GROUP_LANES <= WORKGROUP_SIZE.
override WORKGROUP_SIZE: u32 = 128u;
override GROUP_LANES: u32 = 128u;
override OUTPUTS: u32 = 2u; // 2 or 4
override ROWS: u32 = 1u; // 1, 2 or 4
override WEIGHT_FORMAT: u32 = 0u; // 0 f32, 1 f16, 2 bf16, 3 q8_0, 4 q4_0
override NORM: u32 = 0u; // 0 none, 1 RMS, 2 layer
override OUTPUT: u32 = 0u; // 0 rows of y, 1 queries, keys and values
override HAS_BIAS: u32 = 0u;
// Of rows of y: the function of the outputs, and 1 to add to the old values (the residual stream).
override ACTIVATION: u32 = 0u; // 0 none, 1 GELU by tanh, 2 SiLU, 3 GELU, 4 ReLU, 5 ReLU squared
override GATED: u32 = 0u; // 1: activation(gate) * up of (gate, up) pairs
override ACCUMULATE: u32 = 0u;
// Of queries, keys and values: the cache's format, heads, octets of a head, and rotary angles.
override KV_FORMAT: u32 = 0u; // 0 f32 (eight words an octet), 1 f16 (four)
override N_HEADS: u32 = 1u;
override N_KV_HEADS: u32 = 1u;
override HEAD_OCTETS: u32 = 8u;
override HAS_ROPE: u32 = 0u;

#import shared/rows
#import shared/octet
#import shared/weight_format
#import shared/matvec_units
#import shared/normed
#import shared/group_sums_workgroup
#import shared/row_moments
#import shared/matvec_rows
#import shared/kv_buffer
#import shared/activation
#import shared/output_pair

// Of `group_sums_workgroup`, a block for the products of each row, and one for their squares.
var<workgroup> partial_sums: array<vec4<f32>, (ROWS + 1u) * WORKGROUP_SIZE>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let n_groups = WORKGROUP_SIZE / GROUP_LANES;
    let first = group.x * n_groups * OUTPUTS;
    let first_slot = group.y * ROWS;
    if first_slot >= n_listed(params.list) || first >= params.n_out {
        return;
    }
    let n = first + lane / GROUP_LANES * OUTPUTS;
    put_rows(lane_sums(first_slot, n, lane, 1u), lane, 1u);
    finish_rows(first_slot, first, lane, 1u);
}
