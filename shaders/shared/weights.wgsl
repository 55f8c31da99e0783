// Weights [n_out, n_in] in a buffer, bound as array<vec4<u32>>.

fn weight_octet(octet: u32) -> Octet {
    if WEIGHT_FORMAT == 1u {
        return unpack_f16(weights[octet]);
    }
    if WEIGHT_FORMAT == 2u {
        return unpack_bf16(weights[octet]);
    }
    return Octet(
        bitcast<vec4<f32>>(weights[2u * octet]),
        bitcast<vec4<f32>>(weights[2u * octet + 1u]),
    );
}
