// Which rows leave after a cycle, by the cycle's score and each row's rule.
// One workgroup stands for the whole batch, a lane for a run of neighbouring listed rows.
// Rows that leave for having run their most cycles are in neither list: they need no later keys.

struct Params {
    cycle: u32,
    n_cycles: u32,
    has_score: u32, // 1: the cycle's score is in `progress`
    list: u32,
    staying: u32, // list to write
    leaving: u32, // list to write
    // Dispatches that work on the lists just written.
    first_grid: u32,
    n_grids: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> grids: array<Grid>; // [grid]
@group(0) @binding(2) var<storage, read_write> rows: array<u32>; // see `shared/rows`
@group(0) @binding(3) var<storage, read_write> progress: array<f32>; // [row][cycles run, scores]
@group(0) @binding(4) var<storage, read_write> dispatches: array<u32>; // [grid][x, y, z]

#import shared/rows

const WORKGROUP_SIZE: u32 = 64u;
const STAYS: u32 = 0u;
const LEAVES: u32 = 1u;
const IS_DONE: u32 = 2u;

var<workgroup> n_staying: array<u32, 64>;
var<workgroup> n_leaving: array<u32, 64>;

// A dispatch whose second dimension counts groups of listed rows.
struct Grid {
    x: u32,
    rows_per_group: u32,
    of_leaving: u32,
    unused: u32,
}

fn decision(row: u32) -> u32 {
    let n_run = params.cycle + 1u;
    if n_run >= max_cycles_of(row) {
        return IS_DONE;
    }
    if params.has_score == 0u || n_run < min_cycles_of(row) {
        return STAYS;
    }
    let score = progress[row * (1u + params.n_cycles) + n_run];
    return select(STAYS, LEAVES, score >= threshold_of(row));
}

// Notes the cycles that a row runs, as far as they are known.
fn record(row: u32) {
    let at = row * (1u + params.n_cycles);
    if params.cycle == 0u {
        progress[at] = f32(params.n_cycles);
        for (var i = 1u; i < params.n_cycles; i++) {
            progress[at + 1u + i] = -1.0;
        }
    }
    if decision(row) != STAYS {
        progress[at] = f32(params.cycle + 1u);
    }
}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    let n = n_listed(params.list);
    let run = (n + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;
    let begin = min(n, lane * run);
    let end = min(n, begin + run);
    var staying = 0u;
    var leaving = 0u;
    for (var i = begin; i < end; i++) {
        let row = listed(params.list, i);
        record(row);
        let decided = decision(row);
        staying += select(0u, 1u, decided == STAYS);
        leaving += select(0u, 1u, decided == LEAVES);
    }
    n_leaving[lane] = leaving;
    n_staying[lane] = staying;
    workgroupBarrier();
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
        let decided = decision(row);
        if decided == LEAVES {
            rows[leave_at] = row;
            leave_at++;
        } else if decided == STAYS {
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
