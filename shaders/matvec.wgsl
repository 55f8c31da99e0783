// y[row] = epilogue(weights x[row] + bias), for few rows.
// One invocation stands for four outputs of one row.
// n_in is padded to octets with zeros in the weights and finite values in x.

#import shared/linear

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
) {
    let n = 4u * id.x;
    if group.y >= n_listed(params.list) || n >= params.n_out {
        return;
    }
    let row = listed(params.list, group.y);
    let octets = params.n_in_octets;
    // Outputs past the end repeat the last row of the weights; `store` drops them.
    let last = params.n_out - 1u;
    let w0 = (params.weight_row + n) * octets;
    let w1 = (params.weight_row + min(n + 1u, last)) * octets;
    let w2 = (params.weight_row + min(n + 2u, last)) * octets;
    let w3 = (params.weight_row + min(n + 3u, last)) * octets;
    let x_row = 2u * row * octets;
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    var s2 = vec4<f32>();
    var s3 = vec4<f32>();
    for (var k = 0u; k < octets; k++) {
        let low = x[x_row + 2u * k];
        let high = x[x_row + 2u * k + 1u];
        s0 = dot_step(s0, weight_octet(w0 + k), low, high);
        s1 = dot_step(s1, weight_octet(w1 + k), low, high);
        s2 = dot_step(s2, weight_octet(w2 + k), low, high);
        s3 = dot_step(s3, weight_octet(w3 + k), low, high);
    }
    store(row, n, vec4<f32>(lanes_sum(s0), lanes_sum(s1), lanes_sum(s2), lanes_sum(s3)));
}
