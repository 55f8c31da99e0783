// matrix[row] = random numbers, the scales of quantised blocks after them, then zeros.
// One invocation stands for every n_invocations-th word of the matrix.
// A row is row_words long, of which number_words and scale_words are not padding.

struct Params {
    n_words: u32,
    n_invocations: u32,
    row_words: u32,
    number_words: u32,
    scale_words: u32,
    // Bits of a word of numbers that are random, and bits that are set in every such word.
    random_bits: u32,
    set_bits: u32,
    // Two equal scales in f16.
    scales: u32,
    seed: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> matrix: array<u32>; // [row][row_words]

// The integer hash `lowbias32` by Chris Wellons.
fn hash(n: u32) -> u32 {
    var h = n;
    h = (h ^ (h >> 16u)) * 0x7feb352du;
    h = (h ^ (h >> 15u)) * 0x846ca68bu;
    return h ^ (h >> 16u);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let start = hash(params.seed);
    for (var i = id.x; i < params.n_words; i += params.n_invocations) {
        let place = i % params.row_words;
        let numbers = (hash(start + i) & params.random_bits) | params.set_bits;
        let rest = select(0u, params.scales, place < params.number_words + params.scale_words);
        matrix[i] = select(rest, numbers, place < params.number_words);
    }
}
