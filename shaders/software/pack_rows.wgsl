// packed[i] = x[i-th listed row]
// One invocation stands for four values of one row.
// `matmul_texture` reads the texture: from a buffer some drivers load twenty times slower.

struct Params {
    n_octets: u32,
    list: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [row][2 n_octets]
@group(0) @binding(2) var<storage, read> rows: array<u32>; // see `shared/rows`
// [listed row][2 n_octets]
@group(0) @binding(3) var packed: texture_storage_2d<rgba32float, write>;

#import shared/rows

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
) {
    let width = 2u * params.n_octets;
    if group.y >= n_listed(params.list) || id.x >= width {
        return;
    }
    let row = listed(params.list, group.y);
    textureStore(packed, vec2<u32>(id.x, group.y), x[row * width + id.x]);
}
