// candidates[row] = the k largest logits, largest first, among equals the smaller id first
// One workgroup stands for a row of logits. The k-th largest chunk maximum is no larger than
// the k-th largest logit: only chunks that reach it are read again, and few of their logits do.

struct Params {
    n_vocab: u32,
    row_quads: u32,
    list: u32, // the rows that the rows of logits belong to
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<vec4<u32>>; // [row][row_quads]
@group(0) @binding(2) var<storage, read> maxima: array<u32>; // [row][chunk]
@group(0) @binding(3) var<storage, read> draw_rules: array<DrawRule>; // [sequence]
@group(0) @binding(4) var<storage, read> rows: array<u32>; // see `shared/rows`
// [row][256][key, id]; the first k of a row are written.
@group(0) @binding(5) var<storage, read_write> candidates: array<vec2<u32>>;

override WORKGROUP_SIZE: u32 = 64u;

#import shared/rows
#import shared/draw_rule
#import shared/logit_keys
#import shared/radix_select

const MAX_CANDIDATES: u32 = 256u;
const CAPACITY: u32 = 1024u;

var<workgroup> counts: array<atomic<u32>, 256>; // [place][digit]; a search takes eight places
var<workgroup> keys: array<u32, 1024>;        // the chunks' maxima
var<workgroup> chunks: array<u32, 256>;       // those that are read again
var<workgroup> found: array<vec2<u32>, 1024>; // [key, id] in any order
var<workgroup> n_chunks: atomic<u32>;
var<workgroup> n_found: atomic<u32>;
var<workgroup> n_collected: u32;

// Whether a comes before b.
fn precedes(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.x > b.x || (a.x == b.x && a.y < b.y);
}

fn load(row: u32, lane: u32) {
    for (var i = lane; i < N_CHUNKS; i += WORKGROUP_SIZE) {
        keys[i] = maxima[row * N_CHUNKS + i];
    }
    clear_counts(lane);
    if lane == 0u {
        atomicStore(&n_chunks, 0u);
        atomicStore(&n_found, 0u);
    }
    workgroupBarrier();
}

// The k-th largest of the chunks' maxima: the least that a candidate can be.
fn least_key(k: u32, lane: u32) -> u32 {
    var selection = Selection(0u, k);
    for (var place = 0u; place < 8u; place++) {
        for (var i = lane; i < N_CHUNKS; i += WORKGROUP_SIZE) {
            add_value(place, selection, keys[i]);
        }
        workgroupBarrier();
        selection = pick_digit(place, selection);
    }
    return max(selection.known, NONE + 1u);
}

// The last candidate, [key, id]: the k-th largest key, then among its equals the id, whose
// complement is searched for because smaller ids come first.
fn last_candidate(row: u32, k: u32, lane: u32) -> vec2<u32> {
    clear_counts(lane);
    if lane == 0u {
        atomicStore(&n_found, 0u);
    }
    workgroupBarrier();
    var key = Selection(0u, k);
    var id = Selection(0u, 0u);
    for (var place = 0u; place < 16u; place++) {
        if place == 8u {
            id.rank = key.rank;
        }
        for (var quad = lane; quad < n_quads(); quad += WORKGROUP_SIZE) {
            let quad_key = quad_keys(row * params.row_quads, quad);
            for (var i = 0u; i < 4u; i++) {
                if place < 8u {
                    add_value(place, key, quad_key[i]);
                } else if quad_key[i] == key.known {
                    add_value(place, id, ~(4u * quad + i));
                }
            }
        }
        workgroupBarrier();
        if place < 8u {
            key = pick_digit(place, key);
        } else {
            id = pick_digit(place, id);
        }
    }
    return vec2<u32>(key.known, ~id.known);
}

// Lists the logits of a quad down to `last`.
fn collect(row: u32, quad: u32, last: vec2<u32>) {
    if quad >= n_quads() {
        return;
    }
    let quad_key = quad_keys(row * params.row_quads, quad);
    for (var i = 0u; i < 4u; i++) {
        let mine = vec2<u32>(quad_key[i], 4u * quad + i);
        if !precedes(last, mine) {
            let at = atomicAdd(&n_found, 1u);
            if at < CAPACITY {
                found[at] = mine;
            }
        }
    }
}

// Lists the logits that reach `least`. Returns how many there are, or 0 for too many to list.
fn collect_chunks(row: u32, least: u32, lane: u32) -> u32 {
    for (var chunk = lane; chunk < N_CHUNKS; chunk += WORKGROUP_SIZE) {
        if keys[chunk] >= least {
            let at = atomicAdd(&n_chunks, 1u);
            if at < MAX_CANDIDATES {
                chunks[at] = chunk;
            }
        }
    }
    workgroupBarrier();
    let n = atomicLoad(&n_chunks);
    let n_read = min(n, MAX_CANDIDATES);
    let n_rounds = (n_quads() + N_CHUNKS - 1u) / N_CHUNKS;
    for (var i = lane; i < n_read * n_rounds; i += WORKGROUP_SIZE) {
        let quad = chunks[i % n_read] + i / n_read * N_CHUNKS;
        collect(row, quad, vec2<u32>(least, NOT_FINITE));
    }
    workgroupBarrier();
    if lane == 0u {
        let fits = n <= MAX_CANDIDATES && atomicLoad(&n_found) <= CAPACITY;
        n_collected = select(0u, atomicLoad(&n_found), fits);
    }
    return workgroupUniformLoad(&n_collected);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.y;
    let k = draw_rules[sequence_of(listed(params.list, row))].n_candidates;
    load(row, lane);
    var n = collect_chunks(row, least_key(k, lane), lane);
    if n == 0u {
        // Many are equal.
        let last = last_candidate(row, k, lane);
        for (var quad = lane; quad < n_quads(); quad += WORKGROUP_SIZE) {
            collect(row, quad, last);
        }
        workgroupBarrier();
        n = k;
    }
    // A candidate's place is the number of those before it.
    for (var i = lane; i < n; i += WORKGROUP_SIZE) {
        let mine = found[i];
        var place = 0u;
        for (var j = 0u; j < n; j++) {
            place += select(0u, 1u, precedes(found[j], mine));
        }
        if place < k {
            candidates[row * MAX_CANDIDATES + place] = mine;
        }
    }
}
