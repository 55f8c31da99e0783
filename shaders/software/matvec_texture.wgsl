// Outputs of a linear map for one row: weights norm(x) + bias, which become values of y or queries,
// keys and values. One invocation stands for eight outputs of the one listed row; the uniform
// buffers begin with its x and its norm. Of SUBGROUP_LANES octets of x, each lane norms one.

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
    // Of keys and values: log2 of the places in a row of texels, and the cycles that are written.
    kv_places_log2: u32,
    first_cycle: u32,
    n_cycles: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> x: array<vec4<f32>, 4096>; // [2 n_in_octets], at most 64 KiB
@group(0) @binding(2) var weights: texture_storage_2d<rgba32uint, read>; // `shared/weights_texture`
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>; // [output / 4]
@group(0) @binding(4) var<storage, read> rows: array<u32>; // see `shared/rows`
@group(0) @binding(5) var<storage, read_write> y: array<f32>; // [row][y_stride]
@group(0) @binding(6) var<storage, read> angles: array<vec4<f32>>; // [position][pair] cos, sin
@group(0) @binding(7) var q: texture_storage_2d<rgba32float, write>; // [row][head, 2 HEAD_OCTETS]
@group(0) @binding(8) var kv: texture_storage_2d_array<rgba32uint, write>; // `shared/kv_texture`
// [weights, biases][2 n_in_octets]
@group(0) @binding(9) var<uniform> norm: array<vec4<f32>, 4096>;

override SUBGROUP_LANES: u32 = 4u; // lanes that are sure to share a subgroup, 4 or 8
override WEIGHT_FORMAT: u32 = 0u; // 0 f32, 1 f16, 2 bf16, 3 q8_0, 4 q4_0
override NORM: u32 = 0u; // 0 none, 1 RMS, 2 layer
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
#import shared/lanes
#import shared/weight_format
#import shared/weights_texture
#import shared/normed
#import shared/lane_norm
#import shared/kv_texture
#import shared/qkv_put_texture
#import shared/qkv
#import shared/activation
#import shared/outputs

// Adds to the sums of four outputs a part of their weights times the octets of x that the lanes
// hold from lane `i` on.
fn add_part(before: vec4<f32>, texels: QuadTexels, x: Octet, i: u32) -> vec4<f32> {
    var sums = add_octet(before, texels, 0u, octet_from_lane(x, i));
    if octets_a_part() >= 2u {
        sums = add_octet(sums, texels, 1u, octet_from_lane(x, i + 1u));
    }
    if octets_a_part() == 4u {
        sums = add_octet(sums, texels, 2u, octet_from_lane(x, i + 2u));
        sums = add_octet(sums, texels, 3u, octet_from_lane(x, i + 3u));
    }
    return sums;
}

fn add_octet(sums: vec4<f32>, texels: QuadTexels, i: u32, x: Octet) -> vec4<f32> {
    return quad_step(sums, quad_of(texels, i), x.low, x.high);
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    let n_rows = n_listed(params.list);
    if group.y >= n_rows {
        return;
    }
    // llvmpipe may compile a kernel anew, whenever it is bound, for the values of uniforms that
    // alone decide how often a loop is gone through. There is a row, so this is `n_in_octets`.
    let n_octets = params.n_in_octets * min(n_rows, 1u);
    let lane = subgroup_lane % SUBGROUP_LANES;
    let n = 8u * id.x;
    // Lanes without outputs repeat the last ones: they work for the others.
    let present = min(n, (params.n_out - 1u) / 8u * 8u);
    let low_place = place_of(params.weight_row + present);
    let high_place = low_place + vec2<u32>(4u, 0u);
    let moments = moments(0u, lane);
    var low = vec4<f32>();
    var high = vec4<f32>();
    var squares = vec4<f32>();
    // Loops break at the end of their body: of a loop that breaks at its beginning, llvmpipe goes
    // through the body once more, with every lane masked.
    var first = 0u;
    loop {
        let own = x_octet(0u, first + lane);
        if NORM == 1u {
            squares = with_squares(squares, own);
        }
        let ready = normed_octet(own, first + lane, moments);
        let end = min(SUBGROUP_LANES, n_octets - first);
        var i = 0u;
        loop {
            let step = (first + i) / octets_a_step();
            low = add_part(low, quad_texels(low_place, step, 0u), ready, i);
            high = add_part(high, quad_texels(high_place, step, 0u), ready, i);
            if parts_a_step() == 2u {
                let next = i + octets_a_part();
                low = add_part(low, quad_texels(low_place, step, 1u), ready, next);
                high = add_part(high, quad_texels(high_place, step, 1u), ready, next);
            }
            i += octets_a_step();
            if i >= end {
                break;
            }
        }
        first += SUBGROUP_LANES;
        if first >= n_octets {
            break;
        }
    }
    let scale = rms_scale(sum_over_lanes(component_sum(squares)));
    if n < params.n_out {
        store(listed(params.list, group.y), n, scale * low, scale * high);
    }
}
