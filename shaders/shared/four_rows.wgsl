// Sums of four outputs for up to four rows, whose inputs lanes of a subgroup hold, a lane a row.
// Expects `TILE_ROWS` (2: only two rows are added), `octet` and `weights_texture`.

// Sums of four outputs for four rows.
struct FourRows {
    r0: vec4<f32>,
    r1: vec4<f32>,
    r2: vec4<f32>,
    r3: vec4<f32>,
}

// Adds the weights `w` times an input of the rows that the lanes from `lane` on hold. All rows take
// one weight after another, which then stays in a register.
fn add_input(sums: FourRows, w: vec4<f32>, x: f32, lane: u32) -> FourRows {
    var s = sums;
    s.r0 = fma(w, vec4<f32>(subgroupShuffle(x, lane)), s.r0);
    s.r1 = fma(w, vec4<f32>(subgroupShuffle(x, lane + 1u)), s.r1);
    if TILE_ROWS > 2u {
        s.r2 = fma(w, vec4<f32>(subgroupShuffle(x, lane + 2u)), s.r2);
        s.r3 = fma(w, vec4<f32>(subgroupShuffle(x, lane + 3u)), s.r3);
    }
    return s;
}

fn first_input(w: vec4<f32>, x: f32, lane: u32) -> FourRows {
    return FourRows(
        w * subgroupShuffle(x, lane),
        w * subgroupShuffle(x, lane + 1u),
        w * subgroupShuffle(x, lane + 2u),
        w * subgroupShuffle(x, lane + 3u),
    );
}

// `quad_step` for four rows.
fn add_octet(sums: FourRows, w: Quad, x: Octet, lane: u32) -> FourRows {
    var s = first_input(w.k0, x.low.x, lane);
    s = add_input(s, w.k1, x.low.y, lane);
    s = add_input(s, w.k2, x.low.z, lane);
    s = add_input(s, w.k3, x.low.w, lane);
    s = add_input(s, w.k4, x.high.x, lane);
    s = add_input(s, w.k5, x.high.y, lane);
    s = add_input(s, w.k6, x.high.z, lane);
    s = add_input(s, w.k7, x.high.w, lane);
    return FourRows(
        with_octet(sums.r0, w, s.r0),
        with_octet(sums.r1, w, s.r1),
        with_octet(sums.r2, w, s.r2),
        with_octet(sums.r3, w, s.r3),
    );
}
