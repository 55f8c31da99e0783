// y[i] = x[the i-th listed row]
// One invocation stands for four values of one listed row.

struct Params {
    n_quads: u32, // of a row
    list: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [row][n_quads]
@group(0) @binding(2) var<storage, read> rows: array<u32>; // see `shared/rows`
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>; // [i][n_quads]

#import shared/rows

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
) {
    if group.y < n_listed(params.list) && id.x < params.n_quads {
        let row = listed(params.list, group.y);
        y[group.y * params.n_quads + id.x] = x[row * params.n_quads + id.x];
    }
}
