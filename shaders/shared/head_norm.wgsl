// The RMS norm of queries and keys, which values do not pass: of each head by itself, or of all
// heads of a row, before the rotary embedding or after it. Expects
// `projected: array<vec4<f32>>`, `norm: array<vec4<f32>>`, `octet`, `qkv`, `workgroup_sum`,
// `QK_NORM`, `N_HEADS`, `N_KV_HEADS`, `HEAD_OCTETS`, `WORKGROUP_SIZE`, and `stride`, `head_dim`,
// `first_output` and `eps` in `params`.

fn is_after_rope() -> bool {
    return QK_NORM == 2u || QK_NORM == 4u;
}

fn is_of_width() -> bool {
    return QK_NORM >= 3u;
}

// Octet `octet` of a projected row, as the norm meets it.
fn unnormed(row: u32, octet: u32) -> Octet {
    let at = row * (params.stride / 4u) + 2u * octet;
    let values = Octet(projected[at], projected[at + 1u]);
    if is_after_rope() {
        return rotated(position_of(row), 8u * octet, values);
    }
    return values;
}

fn with_squares(sums: vec4<f32>, values: Octet) -> vec4<f32> {
    return fma(values.high, values.high, fma(values.low, values.low, sums));
}

fn head_squares(row: u32, head: u32) -> f32 {
    var sums = vec4<f32>();
    for (var i = 0u; i < HEAD_OCTETS; i++) {
        sums = with_squares(sums, unnormed(row, head * HEAD_OCTETS + i));
    }
    return component_sum(sums);
}

// A lane's share of the squares of octets `first` to `end` - 1.
fn lane_squares(row: u32, first: u32, end: u32, lane: u32) -> f32 {
    var sums = vec4<f32>();
    for (var octet = first + lane; octet < end; octet += WORKGROUP_SIZE) {
        sums = with_squares(sums, unnormed(row, octet));
    }
    return component_sum(sums);
}

fn scale_of(squares: f32, n_heads: u32) -> f32 {
    return 1.0 / sqrt(squares / f32(n_heads * params.head_dim) + params.eps);
}

// The scales of all query heads of a row, and of all key heads, where these are normed together.
// Every lane must call it. Rows that are stored without queries have none to be read.
fn width_scales(row: u32, lane: u32) -> vec2<f32> {
    if !is_of_width() {
        return vec2<f32>(1.0);
    }
    let keys = N_HEADS * HEAD_OCTETS;
    let end = keys + N_KV_HEADS * HEAD_OCTETS;
    let of_queries = lane_squares(row, params.first_output / 8u, keys, lane);
    let of_keys = lane_squares(row, keys, end, lane);
    return vec2<f32>(
        scale_of(workgroup_sum(of_queries, lane), N_HEADS),
        scale_of(workgroup_sum(of_keys, lane), N_KV_HEADS),
    );
}

// The values that octet `octet` of a row is stored as.
fn normed_octet(row: u32, octet: u32, width_scales: vec2<f32>) -> Octet {
    var values = unnormed(row, octet);
    let head = octet / HEAD_OCTETS;
    if QK_NORM != 0u && head < N_HEADS + N_KV_HEADS {
        let is_key = head >= N_HEADS;
        var scale = select(width_scales.x, width_scales.y, is_key);
        var at = 2u * octet;
        if !is_of_width() {
            scale = scale_of(head_squares(row, head), 1u);
            at = 2u * (octet % HEAD_OCTETS + select(0u, HEAD_OCTETS, is_key));
        }
        values.low *= scale * norm[at];
        values.high *= scale * norm[at + 1u];
    }
    if is_after_rope() {
        return values;
    }
    return rotated(position_of(row), 8u * octet, values);
}
