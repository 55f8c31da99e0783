// y[row] = epilogue(weights x[row] + bias), for many rows.
// One invocation stands for four outputs of four rows, so that each octet of the weights is
// read once for four rows. Padding as in `matvec`.

#import shared/linear

const TILE_ROWS: u32 = 4u;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
) {
    let n = 4u * id.x;
    let first = TILE_ROWS * group.y;
    let n_rows = n_listed(params.list);
    if first >= n_rows || n >= params.n_out {
        return;
    }
    let octets = params.n_in_octets;
    // Rows and outputs past the end repeat the last one; they are dropped at the end.
    var row: vec4<u32>;
    for (var i = 0u; i < TILE_ROWS; i++) {
        row[i] = listed(params.list, min(first + i, n_rows - 1u));
    }
    let last = vec4<u32>(params.n_out - 1u);
    let outputs = min(vec4<u32>(n, n + 1u, n + 2u, n + 3u), last);
    let w = (vec4<u32>(params.weight_row) + outputs) * octets;
    let x_row = 2u * octets * row;
    // s{row}{output}
    var s00 = vec4<f32>(); var s01 = vec4<f32>(); var s02 = vec4<f32>(); var s03 = vec4<f32>();
    var s10 = vec4<f32>(); var s11 = vec4<f32>(); var s12 = vec4<f32>(); var s13 = vec4<f32>();
    var s20 = vec4<f32>(); var s21 = vec4<f32>(); var s22 = vec4<f32>(); var s23 = vec4<f32>();
    var s30 = vec4<f32>(); var s31 = vec4<f32>(); var s32 = vec4<f32>(); var s33 = vec4<f32>();
    for (var k = 0u; k < octets; k++) {
        let w0 = weight_octet(w.x + k);
        let w1 = weight_octet(w.y + k);
        let w2 = weight_octet(w.z + k);
        let w3 = weight_octet(w.w + k);
        var low = x[x_row.x + 2u * k];
        var high = x[x_row.x + 2u * k + 1u];
        s00 = dot_step(s00, w0, low, high);
        s01 = dot_step(s01, w1, low, high);
        s02 = dot_step(s02, w2, low, high);
        s03 = dot_step(s03, w3, low, high);
        low = x[x_row.y + 2u * k];
        high = x[x_row.y + 2u * k + 1u];
        s10 = dot_step(s10, w0, low, high);
        s11 = dot_step(s11, w1, low, high);
        s12 = dot_step(s12, w2, low, high);
        s13 = dot_step(s13, w3, low, high);
        low = x[x_row.z + 2u * k];
        high = x[x_row.z + 2u * k + 1u];
        s20 = dot_step(s20, w0, low, high);
        s21 = dot_step(s21, w1, low, high);
        s22 = dot_step(s22, w2, low, high);
        s23 = dot_step(s23, w3, low, high);
        low = x[x_row.w + 2u * k];
        high = x[x_row.w + 2u * k + 1u];
        s30 = dot_step(s30, w0, low, high);
        s31 = dot_step(s31, w1, low, high);
        s32 = dot_step(s32, w2, low, high);
        s33 = dot_step(s33, w3, low, high);
    }
    let count = min(TILE_ROWS, n_rows - first);
    store(row.x, n, vec4<f32>(lanes_sum(s00), lanes_sum(s01), lanes_sum(s02), lanes_sum(s03)));
    if count > 1u {
        store(row.y, n, vec4<f32>(lanes_sum(s10), lanes_sum(s11), lanes_sum(s12), lanes_sum(s13)));
    }
    if count > 2u {
        store(row.z, n, vec4<f32>(lanes_sum(s20), lanes_sum(s21), lanes_sum(s22), lanes_sum(s23)));
    }
    if count > 3u {
        store(row.w, n, vec4<f32>(lanes_sum(s30), lanes_sum(s31), lanes_sum(s32), lanes_sum(s33)));
    }
}
