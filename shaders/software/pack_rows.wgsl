// packed[i] = norm(x[i-th listed row]), and what its products with weights are to be scaled by.
// A workgroup stands for one listed row, and adds as `matvec_texture` does: to the bit.
// `matmul_texture` reads the texture: from a buffer some drivers load twenty times slower.

struct Params {
    n_in_octets: u32,
    list: u32,
    // Of the norm: inputs without their padding, and what is added to their variance.
    n_cols: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [row][2 n_in_octets]
@group(0) @binding(2) var<storage, read> rows: array<u32>; // see `shared/rows`
// [weights, biases][2 n_in_octets]
@group(0) @binding(3) var<storage, read> norm: array<vec4<f32>>;
// [listed row][2 n_in_octets, scale]
@group(0) @binding(4) var packed: texture_storage_2d<rgba32float, write>;

override SUBGROUP_LANES: u32 = 4u; // lanes that are sure to share a subgroup, 4 or 8
override NORM: u32 = 0u; // 0 none, 1 RMS, 2 layer

#import shared/rows
#import shared/octet
#import shared/lanes
#import shared/normed
#import shared/lane_norm

@compute @workgroup_size(SUBGROUP_LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    if group.y >= n_listed(params.list) {
        return;
    }
    let lane = subgroup_lane % SUBGROUP_LANES;
    let start = listed(params.list, group.y) * 2u * params.n_in_octets;
    let moments = moments(start, lane);
    var squares = vec4<f32>();
    var k = lane;
    loop {
        let own = x_octet(start, k);
        if NORM == 1u {
            squares = with_squares(squares, own);
        }
        if k < params.n_in_octets {
            let ready = normed_octet(own, k, moments);
            textureStore(packed, vec2<u32>(2u * k, group.y), ready.low);
            textureStore(packed, vec2<u32>(2u * k + 1u, group.y), ready.high);
        }
        k += SUBGROUP_LANES;
        if k >= params.n_in_octets {
            break;
        }
    }
    let scale = rms_scale(sum_over_lanes(component_sum(squares)));
    if lane == 0u {
        textureStore(packed, vec2<u32>(2u * params.n_in_octets, group.y), vec4<f32>(scale));
    }
}
