// Scores of a cycle from the zero attention that `attention` wrote, and which rows exit after it.
// One workgroup stands for the whole batch: a lane for the heads of a layer, then for a run of
// neighbouring listed rows. Sums are in a fixed order: heads, then middle layers.

struct Params {
    n_middle_layers: u32,
    n_heads: u32,
    reduce: u32, // 0 mean, 1 max, 2 min, 3 first, 4 last
    cycle: u32,
    n_cycles: u32,
    // 1: rows whose score reaches `threshold` exit.
    decides: u32,
    threshold: f32,
    list: u32,
    staying: u32, // list to write
    leaving: u32, // list to write
    // Dispatches that work on the lists just written.
    first_grid: u32,
    n_grids: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [row][middle layer][head]; the first head's becomes the layer's mean.
@group(0) @binding(1) var<storage, read_write> zeros: array<f32>;
@group(0) @binding(2) var<storage, read> grids: array<Grid>; // [grid]
@group(0) @binding(3) var<storage, read_write> rows: array<u32>; // see `shared/rows`
@group(0) @binding(4) var<storage, read_write> progress: array<f32>; // [row][cycles run, scores]
@group(0) @binding(5) var<storage, read_write> dispatches: array<u32>; // [grid][x, y, z]

#import shared/rows

const WORKGROUP_SIZE: u32 = 64u;

var<workgroup> n_staying: array<u32, 64>;
var<workgroup> n_leaving: array<u32, 64>;

// A dispatch whose second dimension counts groups of listed rows.
struct Grid {
    x: u32,
    rows_per_group: u32,
    of_leaving: u32,
    unused: u32,
}

// Leaves the mean of each layer of each listed row where `layer_score` finds it.
fn average_heads(n_rows: u32, lane: u32) {
    for (var i = lane; i < n_rows * params.n_middle_layers; i += WORKGROUP_SIZE) {
        let row = listed(params.list, i / params.n_middle_layers);
        let layer = row * params.n_middle_layers + i % params.n_middle_layers;
        let start = layer * params.n_heads;
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

// Records the score of a row; true when the row exits.
fn record(row: u32) -> bool {
    let at = row * (1u + params.n_cycles);
    if params.cycle == 0u {
        progress[at] = f32(params.n_cycles);
        for (var i = 1u; i < params.n_cycles; i++) {
            progress[at + 1u + i] = -1.0;
        }
    }
    let value = score(row);
    progress[at + 1u + params.cycle] = value;
    let leaves = params.decides == 1u && value >= params.threshold;
    if leaves {
        progress[at] = f32(params.cycle + 1u);
    }
    return leaves;
}

fn has_left(row: u32) -> bool {
    return progress[row * (1u + params.n_cycles)] == f32(params.cycle + 1u);
}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    let n = n_listed(params.list);
    average_heads(n, lane);
    let run = (n + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;
    let begin = min(n, lane * run);
    let end = min(n, begin + run);
    var leaving = 0u;
    for (var i = begin; i < end; i++) {
        if record(listed(params.list, i)) {
            leaving++;
        }
    }
    n_leaving[lane] = leaving;
    n_staying[lane] = end - begin - leaving;
    workgroupBarrier();
    if params.decides == 0u {
        return;
    }
    var stay_at = params.staying + 1u;
    var leave_at = params.leaving + 1u;
    var total_staying = 0u;
    var total_leaving = 0u;
    for (var i = 0u; i < WORKGROUP_SIZE; i++) {
        if i == lane {
            stay_at += total_staying;
            leave_at += total_leaving;
        }
        total_staying += n_staying[i];
        total_leaving += n_leaving[i];
    }
    for (var i = begin; i < end; i++) {
        let row = listed(params.list, i);
        if has_left(row) {
            rows[leave_at] = row;
            leave_at++;
        } else {
            rows[stay_at] = row;
            stay_at++;
        }
    }
    if lane == 0u {
        rows[params.staying] = total_staying;
        rows[params.leaving] = total_leaving;
    }
    for (var i = lane; i < params.n_grids; i += WORKGROUP_SIZE) {
        let grid = grids[params.first_grid + i];
        let count = select(total_staying, total_leaving, grid.of_leaving == 1u);
        let y = (count + grid.rows_per_group - 1u) / grid.rows_per_group;
        let at = 3u * (params.first_grid + i);
        dispatches[at] = select(grid.x, 0u, count == 0u);
        dispatches[at + 1u] = y;
        dispatches[at + 2u] = select(1u, 0u, count == 0u);
    }
}
