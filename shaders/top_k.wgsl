// candidates = the k largest logits, largest first, among equals the smaller id first
// One workgroup stands for the whole vocabulary; k is at most MAX_CANDIDATES and n_vocab.
// The k-th largest chunk maximum is no larger than the k-th largest logit: only chunks that reach
// it are read again, and few of their logits do.

struct Params {
    n_vocab: u32,
    k: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<vec4<u32>>; // [n_quads]
@group(0) @binding(2) var<storage, read> maxima: array<u32>;       // [chunk]
@group(0) @binding(3) var<storage, read_write> candidates: array<vec2<u32>>; // [k][key, id]

#import shared/logit_keys

const LANES: u32 = 64u;
const MAX_CANDIDATES: u32 = 256u;
const CAPACITY: u32 = 1024u;

var<workgroup> keys: array<u32, 1024>;             // the chunks' maxima
var<workgroup> counts: array<atomic<u32>, 128>;    // [digit's place][digit]
var<workgroup> chunks: array<u32, 256>;            // those that are read again
var<workgroup> found: array<vec2<u32>, 1024>;      // [key, id] in any order
var<workgroup> n_chunks: atomic<u32>;
var<workgroup> n_found: atomic<u32>;
var<workgroup> n_uniform: u32;
var<workgroup> lane_best: array<vec2<u32>, 64>;

// Whether a comes before b.
fn precedes(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.x > b.x || (a.x == b.x && a.y < b.y);
}

fn load(lane: u32) {
    for (var i = lane; i < N_CHUNKS; i += LANES) {
        keys[i] = maxima[i];
    }
    for (var i = lane; i < 128u; i += LANES) {
        atomicStore(&counts[i], 0u);
    }
    if lane == 0u {
        atomicStore(&n_chunks, 0u);
        atomicStore(&n_found, 0u);
    }
    workgroupBarrier();
}

// The k-th largest of `keys`, found digit by digit, four bits each.
fn kth_key(lane: u32) -> u32 {
    var key = 0u;       // the digits known
    var k = params.k;   // its rank among the keys that begin with them
    for (var place = 0u; place < 8u; place++) {
        let shift = 28u - 4u * place;
        for (var i = lane; i < N_CHUNKS; i += LANES) {
            let digit = (keys[i] ^ key) >> shift;
            if digit < 16u {
                atomicAdd(&counts[16u * place + digit], 1u);
            }
        }
        workgroupBarrier();
        var digit = 15u;
        var n = atomicLoad(&counts[16u * place + digit]);
        while n < k && digit > 0u {
            k -= n;
            digit--;
            n = atomicLoad(&counts[16u * place + digit]);
        }
        key |= digit << shift;
    }
    return key;
}

// Lists the logits that reach `least`. Returns how many there are, or CAPACITY + 1 for too many.
fn gather(least: u32, lane: u32) -> u32 {
    for (var chunk = lane; chunk < N_CHUNKS; chunk += LANES) {
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
    for (var i = lane; i < n_read * n_rounds; i += LANES) {
        let quad = chunks[i % n_read] + i / n_read * N_CHUNKS;
        if quad >= n_quads() {
            continue;
        }
        let quad_key = quad_keys(quad);
        for (var j = 0u; j < 4u; j++) {
            if quad_key[j] >= least {
                let at = atomicAdd(&n_found, 1u);
                if at < CAPACITY {
                    found[at] = vec2<u32>(quad_key[j], 4u * quad + j);
                }
            }
        }
    }
    workgroupBarrier();
    if lane == 0u {
        let is_all = n <= MAX_CANDIDATES && atomicLoad(&n_found) <= CAPACITY;
        n_uniform = select(CAPACITY + 1u, atomicLoad(&n_found), is_all);
    }
    return workgroupUniformLoad(&n_uniform);
}

// Puts what was found in order: a candidate's place is the number of those before it.
fn rank(n: u32, lane: u32) {
    for (var i = lane; i < n; i += LANES) {
        let mine = found[i];
        var place = 0u;
        for (var j = 0u; j < n; j++) {
            place += select(0u, 1u, precedes(found[j], mine));
        }
        if place < params.k {
            candidates[place] = mine;
        }
    }
}

// The same by k searches through all logits: for a thousand equals and more.
fn search(lane: u32) {
    var last = vec2<u32>(NOT_FINITE, 0u);
    for (var place = 0u; place < params.k; place++) {
        var best = vec2<u32>(NONE, NOT_FINITE);
        for (var quad = lane; quad < n_quads(); quad += LANES) {
            let quad_key = quad_keys(quad);
            for (var j = 0u; j < 4u; j++) {
                let mine = vec2<u32>(quad_key[j], 4u * quad + j);
                if precedes(mine, best) && (place == 0u || precedes(last, mine)) {
                    best = mine;
                }
            }
        }
        lane_best[lane] = best;
        workgroupBarrier();
        last = lane_best[0];
        for (var i = 1u; i < LANES; i++) {
            if precedes(lane_best[i], last) {
                last = lane_best[i];
            }
        }
        if lane == 0u {
            candidates[place] = last;
        }
        workgroupBarrier();
    }
}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    load(lane);
    let least = max(kth_key(lane), NONE + 1u);
    let n = gather(least, lane);
    if n <= CAPACITY {
        rank(n, lane);
    } else {
        search(lane);
    }
}
