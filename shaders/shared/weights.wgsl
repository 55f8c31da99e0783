// Weights [n_out, n_in] in a buffer. A row is its octets, or, quantised, the numbers of its blocks
// and then their scales, padded to 16 bytes. Expects `weights: array<vec4<u32>>`,
// `octet` and `weight_format`.

fn quantised_octet(row: u32, octet: u32, n_octets: u32) -> Octet {
    // 16 bytes hold two octets of q8_0, four of q4_0.
    let octets_a_read = select(4u, 2u, WEIGHT_FORMAT == 3u);
    let n_blocks = n_octets / BLOCK_OCTETS;
    let n_reads = n_octets / octets_a_read;
    let first = row * (n_reads + (n_blocks + 7u) / 8u);
    let block = octet / BLOCK_OCTETS;
    let pair = unpack2x16float(weights[first + n_reads + block / 8u][block % 8u / 2u]);
    let numbers = weights[first + octet / octets_a_read];
    return scaled(unpack_quants(numbers, octet % BLOCK_OCTETS), pair[block % 2u]);
}

// Octet `octet` of row `row`, of `n_octets`.
fn weight_octet(row: u32, octet: u32, n_octets: u32) -> Octet {
    if is_quantised() {
        return quantised_octet(row, octet, n_octets);
    }
    let at = row * n_octets + octet;
    if WEIGHT_FORMAT == 1u {
        return unpack_f16(weights[at]);
    }
    if WEIGHT_FORMAT == 2u {
        return unpack_bf16(weights[at]);
    }
    return Octet(bitcast<vec4<f32>>(weights[2u * at]), bitcast<vec4<f32>>(weights[2u * at + 1u]));
}
