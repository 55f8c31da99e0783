// One invocation stands for eight outputs of one row, weights in a texture.
// The row is the one that is listed; the uniform buffers begin with its x and its norm. Of LANES
// octets of x, each lane loads and norms one.
//
// Loops break at the end of their body: of a loop that breaks at its beginning, llvmpipe goes
// through the body once more, with every lane masked.

@group(0) @binding(1) var<uniform> x: array<vec4<f32>, 4096>; // [2 n_in_octets], at most 64 KiB
@group(0) @binding(2) var weights: texture_storage_2d<rgba32uint, read>;

#import shared/normed
#import shared/octet
#import shared/lanes
#import shared/weights_texture
#import shared/quad

// A lane's octet of those from `first` on; zeros past the end.
fn x_octet(first: u32, lane: u32) -> Octet {
    let k = first + lane;
    let at = 2u * min(k, params.n_in_octets - 1u);
    let is_inside = k < params.n_in_octets;
    return Octet(select(vec4<f32>(), x[at], is_inside), select(vec4<f32>(), x[at + 1u], is_inside));
}

fn moments(lane: u32) -> Moments {
    if NORM != 2u {
        return Moments(0.0, 1.0);
    }
    var sum = vec4<f32>();
    var first = 0u;
    loop {
        let octet = x_octet(first, lane);
        sum += octet.low + octet.high;
        first += LANES;
        if first >= params.n_in_octets {
            break;
        }
    }
    let mean = sum_over_lanes(lanes_sum(sum)) / f32(params.n_cols);
    var squares = vec4<f32>();
    first = 0u;
    loop {
        let octet = x_octet(first, lane);
        let is_inside = first + lane < params.n_in_octets;
        let low = select(vec4<f32>(), octet.low - mean, is_inside);
        let high = select(vec4<f32>(), octet.high - mean, is_inside);
        squares = fma(low, low, fma(high, high, squares));
        first += LANES;
        if first >= params.n_in_octets {
            break;
        }
    }
    let all = sum_over_lanes(lanes_sum(squares));
    return Moments(mean, deviation_scale(without_padding(all, mean)));
}

fn normed_octet(octet: Octet, k: u32, moments: Moments) -> Octet {
    let at = 2u * min(k, params.n_in_octets - 1u);
    return Octet(normed(at, octet.low, moments), normed(at + 1u, octet.high, moments));
}

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
    if group.y >= n_listed(params.list) {
        return;
    }
    let lane = subgroup_lane % LANES;
    let n = 8u * id.x;
    let low_place = place_of(params.weight_row + present_output(n));
    let high_place = low_place + vec2<u32>(4u, 0u);
    let moments = moments(lane);
    var low = vec4<f32>();
    var high = vec4<f32>();
    var squares = vec4<f32>();
    var first = 0u;
    loop {
        let own = x_octet(first, lane);
        if NORM == 1u {
            squares = fma(own.low, own.low, fma(own.high, own.high, squares));
        }
        let ready = normed_octet(own, first + lane, moments);
        let end = min(LANES, params.n_in_octets - first);
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
        first += LANES;
        if first >= params.n_in_octets {
            break;
        }
    }
    let scale = rms_scale(sum_over_lanes(lanes_sum(squares)));
    if n < params.n_out {
        store(listed(params.list, group.y), n, scale * low, scale * high);
    }
}
