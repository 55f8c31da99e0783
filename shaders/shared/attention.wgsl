// Parameters of all attention kernels, and the keys that a row sees.
//
// out[row][head] = softmax over the zero token and the cached keys, applied to their values.
// The keys and values of positions 0 .. the row's own are in the KV cache. Keys are counted from
// where the row's sequence begins there; rows that share a tile or a quartet are of one sequence.
struct Params {
    n_heads: u32,
    n_kv_heads: u32,
    head_dim: u32,
    head_octets: u32,
    kv_places: u32,
    // Tiles and splits of `attention`. With textures, the rows are those of a workgroup's quartets,
    // and a split is a workgroup of those that share a quartet's keys in `scores_texture`; Direct3D
    // does not tell it how many there are.
    heads_per_tile: u32,
    rows_per_tile: u32,
    n_splits: u32,
    split_keys: u32,
    cycle: u32,
    list: u32,
    out_stride: u32,
    scale: f32,
    // Zero token: whether there is one, and the rows of `pool` with its key and value.
    has_zero: u32,
    zero_key: u32,
    zero_value: u32,
    pool_heads: u32,
    // Keys that a row sees, its own counted.
    window: u32,
    // Where the zero attention goes: the middle layer, or nowhere.
    writes_zeros: u32,
    layer: u32,
    n_layers: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

const LOWEST: f32 = -3.0e38;

// The first key that a row sees.
fn first_key(position: u32) -> u32 {
    return position + 1u - min(position + 1u, params.window);
}
