// Tokens and positions of the rows that go on from the token drawn last.
// One workgroup stands for the whole batch, a lane for a listed row.
// A row goes on where its id is FROM_HISTORY.

struct Params {
    list: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> history: array<u32>; // see `shared/history`
@group(0) @binding(2) var<storage, read_write> rows: array<u32>; // see `shared/rows`
@group(0) @binding(3) var<storage, read_write> ids: array<u32>; // [row]

#import shared/rows
#import shared/history

const WORKGROUP_SIZE: u32 = 64u;
const FROM_HISTORY: u32 = 0xffffffffu;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    for (var i = lane; i < n_listed(params.list); i += WORKGROUP_SIZE) {
        let row = listed(params.list, i);
        if ids[row] == FROM_HISTORY {
            let start = history_of(sequence_of(row));
            ids[row] = history[start + LAST_ID];
            rows[ROW_WORDS * row + POSITION] = history[start + NEWEST] + 1u;
        }
    }
}
