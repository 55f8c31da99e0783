// One invocation stands for eight outputs of eight listed rows, weights and x in textures.
// `pack_rows` put the listed rows of x into the texture, the i-th one into its row i.

@group(0) @binding(1) var x: texture_2d<f32>; // [listed row][2 n_in_octets]
@group(0) @binding(2) var weights: texture_2d<u32>;

#import shared/octet
#import shared/weights_texture
#import shared/quad

const TILE_ROWS: u32 = 8u;

// Rows past the end hold what an earlier batch left; what becomes of them is dropped.
fn x_texel(slot: u32, column: u32) -> vec4<f32> {
    return textureLoad(x, vec2<u32>(column, slot), 0);
}

fn finish(slot: u32, n: u32, low: vec4<f32>, high: vec4<f32>) {
    if slot < n_listed(params.list) {
        store(listed(params.list, slot), n, low, high);
    }
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
) {
    let n = 8u * id.x;
    let first = TILE_ROWS * group.y;
    if first >= n_listed(params.list) || n >= params.n_out {
        return;
    }
    let output = params.weight_row + n;
    // Sums of the first four outputs and of the others, by row.
    var a0 = vec4<f32>();
    var b0 = vec4<f32>();
    var a1 = vec4<f32>();
    var b1 = vec4<f32>();
    var a2 = vec4<f32>();
    var b2 = vec4<f32>();
    var a3 = vec4<f32>();
    var b3 = vec4<f32>();
    var a4 = vec4<f32>();
    var b4 = vec4<f32>();
    var a5 = vec4<f32>();
    var b5 = vec4<f32>();
    var a6 = vec4<f32>();
    var b6 = vec4<f32>();
    var a7 = vec4<f32>();
    var b7 = vec4<f32>();
    for (var k = 0u; k < params.n_in_octets; k++) {
        let wa = weight_quad(output, k);
        let wb = weight_quad(output + 4u, k);
        var low: vec4<f32>;
        var high: vec4<f32>;
        low = x_texel(first + 0u, 2u * k);
        high = x_texel(first + 0u, 2u * k + 1u);
        a0 = quad_step(a0, wa, low, high);
        b0 = quad_step(b0, wb, low, high);
        low = x_texel(first + 1u, 2u * k);
        high = x_texel(first + 1u, 2u * k + 1u);
        a1 = quad_step(a1, wa, low, high);
        b1 = quad_step(b1, wb, low, high);
        low = x_texel(first + 2u, 2u * k);
        high = x_texel(first + 2u, 2u * k + 1u);
        a2 = quad_step(a2, wa, low, high);
        b2 = quad_step(b2, wb, low, high);
        low = x_texel(first + 3u, 2u * k);
        high = x_texel(first + 3u, 2u * k + 1u);
        a3 = quad_step(a3, wa, low, high);
        b3 = quad_step(b3, wb, low, high);
        low = x_texel(first + 4u, 2u * k);
        high = x_texel(first + 4u, 2u * k + 1u);
        a4 = quad_step(a4, wa, low, high);
        b4 = quad_step(b4, wb, low, high);
        low = x_texel(first + 5u, 2u * k);
        high = x_texel(first + 5u, 2u * k + 1u);
        a5 = quad_step(a5, wa, low, high);
        b5 = quad_step(b5, wb, low, high);
        low = x_texel(first + 6u, 2u * k);
        high = x_texel(first + 6u, 2u * k + 1u);
        a6 = quad_step(a6, wa, low, high);
        b6 = quad_step(b6, wb, low, high);
        low = x_texel(first + 7u, 2u * k);
        high = x_texel(first + 7u, 2u * k + 1u);
        a7 = quad_step(a7, wa, low, high);
        b7 = quad_step(b7, wb, low, high);
    }
    finish(first + 0u, n, a0, b0);
    finish(first + 1u, n, a1, b1);
    finish(first + 2u, n, a2, b2);
    finish(first + 3u, n, a3, b3);
    finish(first + 4u, n, a4, b4);
    finish(first + 5u, n, a5, b5);
    finish(first + 6u, n, a6, b6);
    finish(first + 7u, n, a7, b7);
}
