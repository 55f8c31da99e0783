// One of the candidates, by top-p, min-p, temperature and a counter-based random number
// One workgroup stands for the draw: its lanes weigh the candidates, the first one draws.
// `candidates` are sorted, largest first, MAX_CANDIDATES at most, so that 32 bits hold every sum.

struct Params {
    n_candidates: u32,
    top_p: u32, // in units of 2^-32; KEEP_ALL is no filter
    // How far below the largest a logit may lie.
    min_p_distance: f32,
    // From a distance to units of 2^-24 of a power of two, without and with the temperature.
    plain_scale: f32,
    tempered_scale: f32,
    seed: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> candidates: array<vec2<u32>>;  // [n_candidates][key, id]
@group(0) @binding(2) var<storage, read_write> history: array<u32>;     // [drawn, seen, recent ids]
@group(0) @binding(3) var<storage, read_write> ids: array<u32>;         // the first is written

#import shared/fixed_point
#import shared/history

const LANES: u32 = 64u;
const MAX_CANDIDATES: u32 = 256u;
const KEEP_ALL: u32 = 0xffffffffu;
const NOT_FINITE: u32 = 0xffffffffu; // a key
const NO_TOKEN: u32 = 0xffffffffu;   // what is drawn then
const LARGEST: f32 = 0x1.fffffep+127f;

const PLAIN: u32 = 0u;
const TEMPERED: u32 = MAX_CANDIDATES;

var<workgroup> distances: array<f32, 256>;
var<workgroup> weights: array<u32, 512>; // [plain, tempered][candidate]

fn logit(candidate: u32) -> f32 {
    let key = candidates[candidate].x;
    return bitcast<f32>(key ^ select(0xffffffffu, 0x80000000u, key >= 0x80000000u));
}

fn scaled(distance: f32, scale: f32) -> u32 {
    return u32(min(distance * scale, 1073741824.0));
}

// Differences and products stand apart from each other, so that no compiler fuses them.
fn weigh(lane: u32) {
    let largest = logit(0u);
    for (var i = lane; i < params.n_candidates; i += LANES) {
        let distance = min(largest - logit(i), LARGEST);
        distances[i] = distance;
        weights[PLAIN + i] = weight(scaled(distance, params.plain_scale));
        weights[TEMPERED + i] = weight(scaled(distance, params.tempered_scale));
    }
    workgroupBarrier();
}

// The first of n weights at which their sum exceeds this part, in units of 2^-32, of the whole.
fn first_past(begin: u32, n: u32, part: u32) -> u32 {
    var total = 0u;
    for (var i = 0u; i < n; i++) {
        total += weights[begin + i];
    }
    let bound = mul_high(total, part);
    var first = 0u;
    var sum = weights[begin];
    while sum <= bound && first + 1u < n {
        first++;
        sum += weights[begin + first];
    }
    return first;
}

fn n_kept() -> u32 {
    var n = params.n_candidates;
    if params.top_p != KEEP_ALL {
        n = first_past(PLAIN, n, params.top_p) + 1u;
    }
    while n > 1u && distances[n - 1u] > params.min_p_distance {
        n--;
    }
    return n;
}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    weigh(lane);
    if lane != 0u {
        return;
    }
    let random = pcg(history[N_DRAWN] ^ params.seed);
    var id = candidates[first_past(TEMPERED, n_kept(), random)].y;
    if candidates[0].x == NOT_FINITE {
        id = NO_TOKEN;
    }
    ids[0] = id;
    history[RECENT + history[N_SEEN] % WINDOW] = id;
    history[N_SEEN] += 1u;
    history[N_DRAWN] += 1u;
}
