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
@group(0) @binding(1) var<storage, read> candidates: array<vec2<u32>>; // [n_candidates][key, id]
@group(0) @binding(2) var<storage, read_write> history: array<u32>; // [drawn, seen, recent ids]
@group(0) @binding(3) var<storage, read_write> ids: array<u32>; // the first is written

#import shared/history

const ONE: u32 = 8388608u; // the weight of the likeliest token, 2^23
const WORKGROUP_SIZE: u32 = 64u;
const MAX_CANDIDATES: u32 = 256u;
const KEEP_ALL: u32 = 0xffffffffu;
const NOT_FINITE: u32 = 0xffffffffu; // a key
const NO_TOKEN: u32 = 0xffffffffu;   // what is drawn then
const LARGEST: f32 = 0x1.fffffep+127f;
const PLAIN: u32 = 0u;
const TEMPERED: u32 = MAX_CANDIDATES;

var<workgroup> distances: array<f32, 256>;
var<workgroup> weights: array<u32, 512>; // [plain, tempered][candidate]

// The upper half of the product.
fn mul_high(a: u32, b: u32) -> u32 {
    let a_low = a & 0xffffu;
    let b_low = b & 0xffffu;
    let a_high = a >> 16u;
    let b_high = b >> 16u;
    let low = a_high * b_low + ((a_low * b_low) >> 16u);
    let middle = a_low * b_high + (low & 0xffffu);
    return a_high * b_high + (low >> 16u) + (middle >> 16u);
}

// ONE * 2^-x to the nearest, x in units of 2^-24. The fraction of x goes through the series
// of 1 - 2^-f, whose coefficients are ln(2)^k / k! in units of 2^-32.
fn weight(x: u32) -> u32 {
    let f = x << 8u;
    var series = 0x1eu;
    series = 0x1b5u - mul_high(f, series);
    series = 0x162cu - mul_high(f, series);
    series = 0xffe6u - mul_high(f, series);
    series = 0xa1849u - mul_high(f, series);
    series = 0x576200u - mul_high(f, series);
    series = 0x276556eu - mul_high(f, series);
    series = 0xe35846cu - mul_high(f, series);
    series = 0x3d7f7bffu - mul_high(f, series);
    series = 0xb17217f8u - mul_high(f, series);
    let mantissa = ONE - ((mul_high(f, series) + 256u) >> 9u);
    let n = min(x >> 24u, 31u);
    return (mantissa + ((1u << n) >> 1u)) >> n;
}

fn pcg(v: u32) -> u32 {
    let state = v * 747796405u + 2891336453u;
    let word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
    return (word >> 22u) ^ word;
}

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
    for (var i = lane; i < params.n_candidates; i += WORKGROUP_SIZE) {
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
