// The sums of eight outputs of eight rows. Expects `x: texture_storage_2d<rgba32float, read>`,
// `store`, `quad` and `rows`.

const TILE_ROWS: u32 = 8u;

// Rows past the end hold values of an earlier batch; `finish` drops their results.
fn x_texel(slot: u32, column: u32) -> vec4<f32> {
    return textureLoad(x, vec2<u32>(column, slot));
}

fn finish(slot: u32, n: u32, low: vec4<f32>, high: vec4<f32>) {
    if slot < n_listed(params.list) && n < params.n_out {
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

// An octet of x for each row of the tile, lane by lane: the lanes' first rows, and where there are
// but four lanes the second ones.
struct Rows {
    first: Octet,
    second: Octet,
}

fn x_octet(slot: u32, k: u32) -> Octet {
    return Octet(x_texel(slot, 2u * k), x_texel(slot, 2u * k + 1u));
}

fn own_rows(slot: u32, k: u32) -> Rows {
    let first = x_octet(slot, k);
    if LANES == 8u {
        return Rows(first, first);
    }
    return Rows(first, x_octet(slot + LANES, k));
}

fn row_octet(rows: Rows, r: u32) -> Octet {
    if r < LANES {
        return octet_from_lane(rows.first, r);
    }
    return octet_from_lane(rows.second, r - LANES);
}

// Adds an octet of the rows times the weights `wa` and `wb`.
fn add_octet(before: Tile, wa: Quad, wb: Quad, rows: Rows) -> Tile {
    var tile = before;
    var x: Octet;
    x = row_octet(rows, 0u);
    tile.a0 = quad_step(tile.a0, wa, x.low, x.high);
    tile.b0 = quad_step(tile.b0, wb, x.low, x.high);
    x = row_octet(rows, 1u);
    tile.a1 = quad_step(tile.a1, wa, x.low, x.high);
    tile.b1 = quad_step(tile.b1, wb, x.low, x.high);
    x = row_octet(rows, 2u);
    tile.a2 = quad_step(tile.a2, wa, x.low, x.high);
    tile.b2 = quad_step(tile.b2, wb, x.low, x.high);
    x = row_octet(rows, 3u);
    tile.a3 = quad_step(tile.a3, wa, x.low, x.high);
    tile.b3 = quad_step(tile.b3, wb, x.low, x.high);
    x = row_octet(rows, 4u);
    tile.a4 = quad_step(tile.a4, wa, x.low, x.high);
    tile.b4 = quad_step(tile.b4, wb, x.low, x.high);
    x = row_octet(rows, 5u);
    tile.a5 = quad_step(tile.a5, wa, x.low, x.high);
    tile.b5 = quad_step(tile.b5, wb, x.low, x.high);
    x = row_octet(rows, 6u);
    tile.a6 = quad_step(tile.a6, wa, x.low, x.high);
    tile.b6 = quad_step(tile.b6, wb, x.low, x.high);
    x = row_octet(rows, 7u);
    tile.a7 = quad_step(tile.a7, wa, x.low, x.high);
    tile.b7 = quad_step(tile.b7, wb, x.low, x.high);
    return tile;
}

// Adds a part of the weights, `a` and `b`, times the rows' octets from `k` on.
fn add_part(before: Tile, a: QuadTexels, b: QuadTexels, own: u32, k: u32) -> Tile {
    var tile = add_octet(before, quad_of(a, 0u), quad_of(b, 0u), own_rows(own, k));
    if octets_a_part() >= 2u {
        tile = add_octet(tile, quad_of(a, 1u), quad_of(b, 1u), own_rows(own, k + 1u));
    }
    if octets_a_part() == 4u {
        tile = add_octet(tile, quad_of(a, 2u), quad_of(b, 2u), own_rows(own, k + 2u));
        tile = add_octet(tile, quad_of(a, 3u), quad_of(b, 3u), own_rows(own, k + 3u));
    }
    return tile;
}
