// One invocation stands for eight values of one head of a listed row.

@group(0) @binding(1) var<storage, read> projected: array<vec4<f32>>; // [row][y_stride / 4]
@group(0) @binding(2) var<storage, read> norm: array<vec4<f32>>; // [query, key][2 head_octets]

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
) {
    if group.y >= n_listed(params.list) || 8u * id.x >= params.n_out {
        return;
    }
    let row = listed(params.list, group.y);
    let output = params.first_output + 8u * id.x;
    let head = output / 8u / params.head_octets;
    let octet = output / 8u % params.head_octets;
    let width = 2u * params.head_octets;
    let start = row * (params.y_stride / 4u) + head * width;
    var low = projected[start + 2u * octet];
    var high = projected[start + 2u * octet + 1u];
    if head < params.n_heads + params.n_kv_heads {
        var squares = vec4<f32>();
        for (var i = 0u; i < width; i++) {
            squares = fma(projected[start + i], projected[start + i], squares);
        }
        let sum = (squares.x + squares.y) + (squares.z + squares.w);
        let scale = 1.0 / sqrt(sum / f32(params.n_cols) + params.eps);
        let at = select(0u, width, head >= params.n_heads) + 2u * octet;
        low *= scale * norm[at];
        high *= scale * norm[at + 1u];
    }
    store_octet(row, output, low, high);
}
