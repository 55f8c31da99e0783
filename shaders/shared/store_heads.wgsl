// Storing the octets of whole heads of a row, a lane an octet. Expects `octet`, `rows`, `head_norm`,
// `qkv`, `q8_store`, `KV_FORMAT`, `HEAD_OCTETS`, `WORKGROUP_SIZE`, and `first_output` and `n_out` in
// `params`.

// The heads of workgroup `group`. Every lane must call it.
fn store_heads(row: u32, group: u32, lane: u32) {
    let scales = width_scales(row, lane);
    let n_lanes = WORKGROUP_SIZE / HEAD_OCTETS * HEAD_OCTETS;
    let octet = params.first_output / 8u + group * n_lanes + lane;
    let is_present = lane < n_lanes && 8u * octet < params.first_output + params.n_out;
    var values = Octet();
    if is_present {
        values = normed_octet(row, octet, scales);
    }
    if KV_FORMAT == 2u {
        store_q8(row, octet, values, is_present, lane);
    } else if is_present {
        put_qkv(row, position_of(row), 8u * octet, values);
    }
}
