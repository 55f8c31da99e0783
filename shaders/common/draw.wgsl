// One of the candidates, by top-p, min-p, temperature and a race of random numbers
// One workgroup stands for a row of logits; its lanes weigh the candidates and run the race.
// `candidates` are sorted, largest first, MAX_CANDIDATES at most, so that 32 bits hold every sum.

struct Params {
    list: u32, // the rows that the rows of logits belong to
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> candidates: array<vec2<u32>>; // [row][256][key, id]
@group(0) @binding(2) var<storage, read> draw_rules: array<DrawRule>; // [sequence]
@group(0) @binding(3) var<storage, read> rows: array<u32>; // see `shared/rows`
@group(0) @binding(4) var<storage, read_write> history: array<u32>; // see `shared/history`
@group(0) @binding(5) var<storage, read_write> drawn: array<u32>; // [row]

#import shared/rows
#import shared/history
#import shared/draw_rule
#import shared/finite
#import shared/race

const WORKGROUP_SIZE: u32 = 64u;
const MAX_CANDIDATES: u32 = 256u;
const KEEP_ALL: u32 = 0xffffffffu;
const NOT_FINITE: u32 = 0xffffffffu; // a key
const NO_TOKEN: u32 = 0xffffffffu;   // what is drawn then

var<workgroup> distances: array<f32, 256>;
var<workgroup> weights: array<u32, 256>;
var<workgroup> n_left: u32;
var<workgroup> first_times: array<i32, 64>; // [lane]
var<workgroup> first_ids: array<u32, 64>;

fn logit(row: u32, candidate: u32) -> f32 {
    let key = candidates[row * MAX_CANDIDATES + candidate].x;
    return bitcast<f32>(key ^ select(0xffffffffu, 0x80000000u, key >= 0x80000000u));
}

// Differences and products stand apart from each other, so that no compiler fuses them.
fn weigh(row: u32, rule: DrawRule, lane: u32) {
    let largest = logit(row, 0u);
    for (var i = lane; i < rule.n_candidates; i += WORKGROUP_SIZE) {
        let distance = min(largest - logit(row, i), LARGEST);
        distances[i] = distance;
        weights[i] = weight(scaled(distance, rule.plain_scale));
    }
    workgroupBarrier();
}

// The first of the weights at which their sum exceeds this part, in units of 2^-32, of the whole.
fn first_past(n: u32, part: u32) -> u32 {
    var total = 0u;
    for (var i = 0u; i < n; i++) {
        total += weights[i];
    }
    let bound = mul_high(total, part);
    var first = 0u;
    var sum = weights[0];
    while sum <= bound && first + 1u < n {
        first++;
        sum += weights[first];
    }
    return first;
}

// The candidates that top-p and min-p leave.
fn n_kept(rule: DrawRule) -> u32 {
    var n = rule.n_candidates;
    if rule.top_p != KEEP_ALL {
        n = first_past(n, rule.top_p) + 1u;
    }
    while n > 1u && distances[n - 1u] > rule.min_p_distance {
        n--;
    }
    return n;
}

// Whether a candidate is before another at the end of the race.
fn is_before(time: i32, id: u32, other_time: i32, other_id: u32) -> bool {
    return time < other_time || (time == other_time && id < other_id);
}

// Whether no row of the list is a later one of the row's sequence: it says how the sequence goes on.
fn is_newest(row: u32, sequence: u32) -> bool {
    for (var i = 0u; i < n_listed(params.list); i++) {
        let other = listed(params.list, i);
        if sequence_of(other) == sequence && position_of(other) > position_of(row) {
            return false;
        }
    }
    return true;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.y;
    let batch_row = listed(params.list, row);
    let sequence = sequence_of(batch_row);
    let rule = draw_rules[sequence];
    let place = next_place_of(batch_row);
    weigh(row, rule, lane);
    if lane == 0u {
        n_left = n_kept(rule);
    }
    let n = workgroupUniformLoad(&n_left);
    var first_time = 0x7fffffff;
    var first_id = NO_TOKEN;
    for (var i = lane; i < n; i += WORKGROUP_SIZE) {
        let id = candidates[row * MAX_CANDIDATES + i].y;
        let noise = time(random(vec3<u32>(id, place, rule.seed)));
        let arrival = noise + i32(scaled(distances[i], rule.tempered_scale));
        if is_before(arrival, id, first_time, first_id) {
            first_time = arrival;
            first_id = id;
        }
    }
    first_times[lane] = first_time;
    first_ids[lane] = first_id;
    workgroupBarrier();
    if lane != 0u {
        return;
    }
    for (var i = 1u; i < WORKGROUP_SIZE; i++) {
        if is_before(first_times[i], first_ids[i], first_time, first_id) {
            first_time = first_times[i];
            first_id = first_ids[i];
        }
    }
    if candidates[row * MAX_CANDIDATES].x == NOT_FINITE {
        first_id = NO_TOKEN;
    }
    drawn[row] = first_id;
    let start = history_of(sequence);
    history[ring_at(start, place)] = first_id;
    if is_newest(batch_row, sequence) {
        history[start + LAST_ID] = first_id;
        history[start + NEWEST] = position_of(batch_row);
    }
}
