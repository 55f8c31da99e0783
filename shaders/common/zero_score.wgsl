// The score of a cycle from the zero attention that `attention` wrote.
// One workgroup stands for a listed row, a lane for a middle layer.
// Sums are in a fixed order: heads, then middle layers.

struct Params {
    n_middle_layers: u32,
    n_heads: u32,
    reduce: u32, // 0 mean, 1 max, 2 min, 3 first, 4 last
    cycle: u32,
    n_cycles: u32,
    list: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [row][middle layer][head]; the first head's becomes the layer's mean.
@group(0) @binding(1) var<storage, read_write> zeros: array<f32>;
@group(0) @binding(2) var<storage, read> rows: array<u32>; // see `shared/rows`
@group(0) @binding(3) var<storage, read_write> progress: array<f32>; // [row][cycles run, scores]

#import shared/rows

const WORKGROUP_SIZE: u32 = 64u;

// Leaves the mean of each layer where `layer_score` finds it.
fn average_heads(row: u32, lane: u32) {
    for (var i = lane; i < params.n_middle_layers; i += WORKGROUP_SIZE) {
        let start = (row * params.n_middle_layers + i) * params.n_heads;
        var sum = 0.0;
        for (var head = 0u; head < params.n_heads; head++) {
            sum += zeros[start + head];
        }
        zeros[start] = sum / f32(params.n_heads);
    }
    storageBarrier();
}

fn layer_score(row: u32, middle_layer: u32) -> f32 {
    return zeros[(row * params.n_middle_layers + middle_layer) * params.n_heads];
}

fn score(row: u32) -> f32 {
    if params.reduce == 4u {
        return layer_score(row, params.n_middle_layers - 1u);
    }
    var value = layer_score(row, 0u);
    if params.reduce == 3u {
        return value;
    }
    for (var i = 1u; i < params.n_middle_layers; i++) {
        let next = layer_score(row, i);
        switch params.reduce {
            case 1u: { value = max(value, next); }
            case 2u: { value = min(value, next); }
            default: { value += next; }
        }
    }
    return select(value, value / f32(params.n_middle_layers), params.reduce == 0u);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    if group.y >= n_listed(params.list) {
        return;
    }
    let row = listed(params.list, group.y);
    average_heads(row, lane);
    if lane == 0u {
        progress[row * (1u + params.n_cycles) + 1u + params.cycle] = score(row);
    }
}
