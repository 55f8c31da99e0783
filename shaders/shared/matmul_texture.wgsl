// One invocation stands for eight outputs of eight listed rows, weights and x in textures.
// `pack_rows` put the listed rows of x into the texture, the i-th one into its row i.

@group(0) @binding(1) var x: texture_storage_2d<rgba32float, read>; // [listed row][2 n_in_octets]
@group(0) @binding(2) var weights: texture_storage_2d<rgba32uint, read>;

#import shared/octet
#import shared/weights_texture
#import shared/quad

const TILE_ROWS: u32 = 8u;

// Rows past the end hold what an earlier batch left; what becomes of them is dropped.
fn x_texel(slot: u32, column: u32) -> vec4<f32> {
    return textureLoad(x, vec2<u32>(column, slot));
}

fn finish(slot: u32, n: u32, low: vec4<f32>, high: vec4<f32>) {
    if slot < n_listed(params.list) {
        store(listed(params.list, slot), n, low, high);
    }
}

// Sums of the first four outputs and of the others, by row.
struct Tile {
    a0: vec4<f32>,
    b0: vec4<f32>,
    a1: vec4<f32>,
    b1: vec4<f32>,
    a2: vec4<f32>,
    b2: vec4<f32>,
    a3: vec4<f32>,
    b3: vec4<f32>,
    a4: vec4<f32>,
    b4: vec4<f32>,
    a5: vec4<f32>,
    b5: vec4<f32>,
    a6: vec4<f32>,
    b6: vec4<f32>,
    a7: vec4<f32>,
    b7: vec4<f32>,
}

// Adds octet `k` of the rows from `first` on, which the weights `wa` and `wb` belong to.
fn add_octet(before: Tile, wa: Quad, wb: Quad, first: u32, k: u32) -> Tile {
    var tile = before;
    var low: vec4<f32>;
    var high: vec4<f32>;
    low = x_texel(first + 0u, 2u * k);
    high = x_texel(first + 0u, 2u * k + 1u);
    tile.a0 = quad_step(tile.a0, wa, low, high);
    tile.b0 = quad_step(tile.b0, wb, low, high);
    low = x_texel(first + 1u, 2u * k);
    high = x_texel(first + 1u, 2u * k + 1u);
    tile.a1 = quad_step(tile.a1, wa, low, high);
    tile.b1 = quad_step(tile.b1, wb, low, high);
    low = x_texel(first + 2u, 2u * k);
    high = x_texel(first + 2u, 2u * k + 1u);
    tile.a2 = quad_step(tile.a2, wa, low, high);
    tile.b2 = quad_step(tile.b2, wb, low, high);
    low = x_texel(first + 3u, 2u * k);
    high = x_texel(first + 3u, 2u * k + 1u);
    tile.a3 = quad_step(tile.a3, wa, low, high);
    tile.b3 = quad_step(tile.b3, wb, low, high);
    low = x_texel(first + 4u, 2u * k);
    high = x_texel(first + 4u, 2u * k + 1u);
    tile.a4 = quad_step(tile.a4, wa, low, high);
    tile.b4 = quad_step(tile.b4, wb, low, high);
    low = x_texel(first + 5u, 2u * k);
    high = x_texel(first + 5u, 2u * k + 1u);
    tile.a5 = quad_step(tile.a5, wa, low, high);
    tile.b5 = quad_step(tile.b5, wb, low, high);
    low = x_texel(first + 6u, 2u * k);
    high = x_texel(first + 6u, 2u * k + 1u);
    tile.a6 = quad_step(tile.a6, wa, low, high);
    tile.b6 = quad_step(tile.b6, wb, low, high);
    low = x_texel(first + 7u, 2u * k);
    high = x_texel(first + 7u, 2u * k + 1u);
    tile.a7 = quad_step(tile.a7, wa, low, high);
    tile.b7 = quad_step(tile.b7, wb, low, high);
    return tile;
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
    var tile = Tile();
    let n_steps = params.n_in_octets / octets_a_step();
    for (var step = 0u; step < n_steps; step++) {
        let a = quad_texels(output, step);
        let b = quad_texels(output + 4u, step);
        let k = step * octets_a_step();
        tile = add_octet(tile, quad_of(a, 0u), quad_of(b, 0u), first, k);
        if is_quantised() {
            tile = add_octet(tile, quad_of(a, 1u), quad_of(b, 1u), first, k + 1u);
            tile = add_octet(tile, quad_of(a, 2u), quad_of(b, 2u), first, k + 2u);
            tile = add_octet(tile, quad_of(a, 3u), quad_of(b, 3u), first, k + 3u);
        }
    }
    finish(first + 0u, n, tile.a0, tile.b0);
    finish(first + 1u, n, tile.a1, tile.b1);
    finish(first + 2u, n, tile.a2, tile.b2);
    finish(first + 3u, n, tile.a3, tile.b3);
    finish(first + 4u, n, tile.a4, tile.b4);
    finish(first + 5u, n, tile.a5, tile.b5);
    finish(first + 6u, n, tile.a6, tile.b6);
    finish(first + 7u, n, tile.a7, tile.b7);
}
