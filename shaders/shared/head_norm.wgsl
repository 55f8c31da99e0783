// The RMS norm of query and key heads, which value heads do not pass. Expects
// `projected: array<vec4<f32>>`, `norm: array<vec4<f32>>`, `octet`, `N_HEADS`, `N_KV_HEADS`,
// `HEAD_OCTETS`, and `stride`, `head_dim` and `eps` in `params`.

// Eight neighbouring outputs of a row; `output` counts from the first query.
fn normed_octet(row: u32, output: u32) -> Octet {
    let head = output / 8u / HEAD_OCTETS;
    let octet = output / 8u % HEAD_OCTETS;
    let width = 2u * HEAD_OCTETS;
    let start = row * (params.stride / 4u) + head * width;
    var low = projected[start + 2u * octet];
    var high = projected[start + 2u * octet + 1u];
    if head < N_HEADS + N_KV_HEADS {
        var squares = vec4<f32>();
        for (var i = 0u; i < width; i++) {
            squares = fma(projected[start + i], projected[start + i], squares);
        }
        let scale = 1.0 / sqrt(component_sum(squares) / f32(params.head_dim) + params.eps);
        let at = select(0u, width, head >= N_HEADS) + 2u * octet;
        low *= scale * norm[at];
        high *= scale * norm[at + 1u];
    }
    return Octet(low, high);
}
