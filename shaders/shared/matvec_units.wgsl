// Weights of neighbouring outputs in units that 16 bytes hold (f32: 32 bytes): an octet, with q8_0
// two, with q4_0 four. Expects `weights: array<vec4<u32>>` in the layout that `shared/weights`
// describes, `octet`, `weight_format`, `OUTPUTS`, and `n_in_octets` in `params`.

struct Unit {
    numbers: vec4<u32>,
    // The second half of an octet of f32.
    high: vec4<u32>,
    // Of quantised weights.
    scale: f32,
}

// Of OUTPUTS outputs; of two, `c` and `d` are unused.
struct Units {
    a: Unit,
    b: Unit,
    c: Unit,
    d: Unit,
}

struct Octets {
    a: Octet,
    b: Octet,
    c: Octet,
    d: Octet,
}

fn octets_of_unit() -> u32 {
    if WEIGHT_FORMAT == 4u {
        return 4u;
    }
    return select(1u, 2u, WEIGHT_FORMAT == 3u);
}

// Where a row of the weights begins, in vec4.
fn weights_at(row: u32) -> u32 {
    let n_octets = params.n_in_octets;
    if is_quantised() {
        let n_blocks = n_octets / BLOCK_OCTETS;
        return row * (n_octets / octets_of_unit() + (n_blocks + 7u) / 8u);
    }
    return row * n_octets * select(1u, 2u, WEIGHT_FORMAT == 0u);
}

// Unit `k` of the `n_units` of the row that begins at `row_at`.
fn unit_at(row_at: u32, k: u32, n_units: u32) -> Unit {
    if is_quantised() {
        let block = k * octets_of_unit() / BLOCK_OCTETS;
        let scales = unpack2x16float(weights[row_at + n_units + block / 8u][block % 8u / 2u]);
        return Unit(weights[row_at + k], vec4<u32>(), scales[block % 2u]);
    }
    if WEIGHT_FORMAT == 0u {
        return Unit(weights[row_at + 2u * k], weights[row_at + 2u * k + 1u], 1.0);
    }
    return Unit(weights[row_at + k], vec4<u32>(), 1.0);
}

fn units_at(rows_at: vec4<u32>, k: u32, n_units: u32) -> Units {
    var units: Units;
    units.a = unit_at(rows_at.x, k, n_units);
    units.b = unit_at(rows_at.y, k, n_units);
    if OUTPUTS == 4u {
        units.c = unit_at(rows_at.z, k, n_units);
        units.d = unit_at(rows_at.w, k, n_units);
    }
    return units;
}

// Octet `i` of a unit without its scale. Quantised numbers become bytes without sign, which widen
// in one instruction, and then lose what these are greater by: exactly, unlike products of the
// bytes from which that is taken off as a whole.
fn unit_octet(unit: Unit, i: u32) -> Octet {
    if is_quantised() {
        var words = select(unit.numbers.xy, unit.numbers.zw, (i & 1u) == 1u);
        if WEIGHT_FORMAT == 4u {
            words = (words >> vec2<u32>(4u * (i / 2u))) & vec2<u32>(0x0f0f0f0fu);
        } else {
            // Flipping the highest bit of a signed byte adds 128.
            words = words ^ vec2<u32>(0x80808080u);
        }
        let offset = select(8.0, 128.0, WEIGHT_FORMAT == 3u);
        let low = vec4<f32>(unpack4xU8(words.x)) - offset;
        return Octet(low, vec4<f32>(unpack4xU8(words.y)) - offset);
    }
    if WEIGHT_FORMAT == 2u {
        return unpack_bf16(unit.numbers);
    }
    if WEIGHT_FORMAT == 1u {
        return unpack_f16(unit.numbers);
    }
    return Octet(bitcast<vec4<f32>>(unit.numbers), bitcast<vec4<f32>>(unit.high));
}

fn octets(units: Units, i: u32) -> Octets {
    var all: Octets;
    all.a = unit_octet(units.a, i);
    all.b = unit_octet(units.b, i);
    if OUTPUTS == 4u {
        all.c = unit_octet(units.c, i);
        all.d = unit_octet(units.d, i);
    }
    return all;
}

// The sums of products of each output, one input after the other.
fn add_products(before: vec4<f32>, w: Octets, x: Octet) -> vec4<f32> {
    if OUTPUTS == 2u {
        var pair = before.xy;
        pair = fma(vec2<f32>(w.a.low.x, w.b.low.x), vec2<f32>(x.low.x), pair);
        pair = fma(vec2<f32>(w.a.low.y, w.b.low.y), vec2<f32>(x.low.y), pair);
        pair = fma(vec2<f32>(w.a.low.z, w.b.low.z), vec2<f32>(x.low.z), pair);
        pair = fma(vec2<f32>(w.a.low.w, w.b.low.w), vec2<f32>(x.low.w), pair);
        pair = fma(vec2<f32>(w.a.high.x, w.b.high.x), vec2<f32>(x.high.x), pair);
        pair = fma(vec2<f32>(w.a.high.y, w.b.high.y), vec2<f32>(x.high.y), pair);
        pair = fma(vec2<f32>(w.a.high.z, w.b.high.z), vec2<f32>(x.high.z), pair);
        pair = fma(vec2<f32>(w.a.high.w, w.b.high.w), vec2<f32>(x.high.w), pair);
        return vec4<f32>(pair, 0.0, 0.0);
    }
    var sums = before;
    sums = fma(vec4(w.a.low.x, w.b.low.x, w.c.low.x, w.d.low.x), vec4(x.low.x), sums);
    sums = fma(vec4(w.a.low.y, w.b.low.y, w.c.low.y, w.d.low.y), vec4(x.low.y), sums);
    sums = fma(vec4(w.a.low.z, w.b.low.z, w.c.low.z, w.d.low.z), vec4(x.low.z), sums);
    sums = fma(vec4(w.a.low.w, w.b.low.w, w.c.low.w, w.d.low.w), vec4(x.low.w), sums);
    sums = fma(vec4(w.a.high.x, w.b.high.x, w.c.high.x, w.d.high.x), vec4(x.high.x), sums);
    sums = fma(vec4(w.a.high.y, w.b.high.y, w.c.high.y, w.d.high.y), vec4(x.high.y), sums);
    sums = fma(vec4(w.a.high.z, w.b.high.z, w.c.high.z, w.d.high.z), vec4(x.high.z), sums);
    sums = fma(vec4(w.a.high.w, w.b.high.w, w.c.high.w, w.d.high.w), vec4(x.high.w), sums);
    return sums;
}
