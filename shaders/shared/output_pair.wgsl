// The output stage of a linear map: a pair of neighbouring outputs of a row, the first one even,
// gets its bias, and becomes values of `y` or of queries, keys and values. A second output past the
// end is dropped; queries, keys and values have none. Expects `OUTPUT`, `GATED`, `ACCUMULATE`,
// `HAS_BIAS`, `KV_FORMAT`, `HAS_ROPE`, `N_HEADS`, `N_KV_HEADS`, `HEAD_OCTETS`, `rows`,
// `activation`, `kv_buffer`, `bias: array<vec4<f32>>`, padded to octets,
// `angles: array<vec4<f32>>`, `y: array<f32>`, `kv: array<u32>`, and in `params` `n_out`,
// `first_output`, `y_stride`, `first_cycle` and `n_cycles`.
//
// Queries, keys and values are laid out as `shared/qkv` and `shared/qkv_put_buffer` say.

// Elements i and i + 1 of a buffer of vec4; i is even.
fn pair_of(four: vec4<f32>, i: u32) -> vec2<f32> {
    return select(four.xy, four.zw, i % 4u == 2u);
}

fn put(at: u32, value: f32) {
    if ACCUMULATE == 1u {
        y[at] += value;
    } else {
        y[at] = value;
    }
}

// Columns `column` and `column` + 1 of a row of `y`, or, gated, half of `column`.
fn store_row_pair(row: u32, column: u32, pair: vec2<f32>) {
    let end = params.first_output + params.n_out;
    let row_at = row * params.y_stride;
    if GATED == 1u {
        if column / 2u < end / 2u {
            put(row_at + column / 2u, activated(pair.x) * pair.y);
        }
        return;
    }
    put(row_at + column, activated(pair.x));
    if column + 1u < end {
        put(row_at + column + 1u, activated(pair.y));
    }
}

// Elements `i` and `i` + 1 of a head of the cache.
fn kv_put_pair(cycle: u32, part: u32, head: u32, place: u32, i: u32, pair: vec2<f32>) {
    let at = kv_index(cycle, part, head, place, i / 8u);
    if KV_FORMAT == 1u {
        // Values beyond the range of f16 become its largest ones.
        let most = vec2<f32>(65504.0);
        kv[4u * at + i % 8u / 2u] = pack2x16float(clamp(pair, -most, most));
    } else {
        kv[8u * at + i % 8u] = bitcast<u32>(pair.x);
        kv[8u * at + i % 8u + 1u] = bitcast<u32>(pair.y);
    }
}

// A rotary pair of a head, or two elements of a value; `output` counts from the first query.
fn store_qkv_pair(row: u32, output: u32, pair: vec2<f32>) {
    let width = 8u * HEAD_OCTETS;
    let head = output / width;
    let i = output % width;
    let position = position_of(row);
    var values = pair;
    if HAS_ROPE == 1u && head < N_HEADS + N_KV_HEADS {
        let angle = pair_of(angles[(position * width + i) / 4u], i);
        values = fma(vec2<f32>(-pair.y, pair.x), angle.yy, pair * angle.x);
    }
    if head < N_HEADS {
        let at = (row * N_HEADS + head) * width + i;
        y[at] = values.x;
        y[at + 1u] = values.y;
        return;
    }
    let part = (head - N_HEADS) / N_KV_HEADS;
    let kv_head = (head - N_HEADS) % N_KV_HEADS;
    let place = cache_start_of(row) + position;
    for (var c = 0u; c < params.n_cycles; c++) {
        kv_put_pair(params.first_cycle + c, part, kv_head, place, i, values);
    }
}

// Outputs n and n + 1 of this matrix for a row, from their sums of products.
fn store_pair(row: u32, n: u32, sums: vec2<f32>) {
    let output = params.first_output + n;
    var pair = sums;
    if HAS_BIAS == 1u {
        pair += pair_of(bias[output / 4u], output);
    }
    if OUTPUT == 1u {
        store_qkv_pair(row, output, pair);
    } else {
        store_row_pair(row, output, pair);
    }
}
