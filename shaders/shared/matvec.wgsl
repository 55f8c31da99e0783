// One workgroup stands for eight outputs of one listed row, eight lanes for each output: together
// they read 128 neighbouring bytes of its weights (with f16) at a time.

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;       // [row][2 n_in_octets]
@group(0) @binding(2) var<storage, read> weights: array<vec4<u32>>; // [row of weights][octets]

#import shared/normed
#import shared/octet
#import shared/weights
#import shared/workgroup_sum

const LANES_PER_OUTPUT: u32 = 8u;

var<workgroup> totals: array<f32, 8>;

fn moments(x_row: u32, lane: u32) -> Moments {
    if NORM != 2u {
        return Moments(0.0, 1.0);
    }
    var sum = 0.0;
    for (var i = lane; i < 2u * params.n_in_octets; i += LANES) {
        sum += lanes_sum(x[x_row + i]);
    }
    let mean = workgroup_sum(sum, lane) / f32(params.n_cols);
    var squares = vec4<f32>();
    for (var i = lane; i < 2u * params.n_in_octets; i += LANES) {
        let v = x[x_row + i] - mean;
        squares = fma(v, v, squares);
    }
    let all = workgroup_sum(lanes_sum(squares), lane);
    return Moments(mean, deviation_scale(without_padding(all, mean)));
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let n = 8u * group.x;
    if group.y >= n_listed(params.list) || n >= params.n_out {
        return;
    }
    let row = listed(params.list, group.y);
    let octets = params.n_in_octets;
    let x_row = 2u * row * octets;
    // Outputs past the end repeat the last row of the weights; `store` drops them.
    let output = min(n + lane / LANES_PER_OUTPUT, params.n_out - 1u);
    let w_row = params.weight_row + output;
    let moments = moments(x_row, lane);
    var sum = vec4<f32>();
    var squares = vec4<f32>();
    for (var k = lane % LANES_PER_OUTPUT; k < octets; k += LANES_PER_OUTPUT) {
        let low = x[x_row + 2u * k];
        let high = x[x_row + 2u * k + 1u];
        if NORM == 1u {
            squares = fma(low, low, fma(high, high, squares));
        }
        let w = weight_octet(w_row, k, octets);
        sum = fma(w.low, normed(2u * k, low, moments), sum);
        sum = fma(w.high, normed(2u * k + 1u, high, moments), sum);
    }
    // Every output's lanes have seen all of x between them.
    let sums = sum_of_eight(vec2<f32>(lanes_sum(sum), lanes_sum(squares)), lane);
    if lane % LANES_PER_OUTPUT == 0u {
        totals[lane / LANES_PER_OUTPUT] = sums.x * rms_scale(sums.y);
    }
    workgroupBarrier();
    if lane == 0u {
        let low = vec4<f32>(totals[0], totals[1], totals[2], totals[3]);
        let high = vec4<f32>(totals[4], totals[5], totals[6], totals[7]);
        store(row, n, low, high);
    }
}
