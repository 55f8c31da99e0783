// Logits as unsigned integers in the same order, four neighbours at a time: compared exactly.
// Expects `logits: array<vec4<u32>>` and `params.n_vocab`. Rows of logits begin at whole quads.

const NONE: u32 = 0u; // below every number
const NOT_FINITE: u32 = 0xffffffffu; // above every number

// Chunk c of the vocabulary holds the quads c, c + N_CHUNKS, c + 2 N_CHUNKS ...
const N_CHUNKS: u32 = 1024u;

fn n_quads() -> u32 {
    return (params.n_vocab + 3u) / 4u;
}

// Keys of tokens 4 quad .. 4 quad + 3 of the row that begins at quad `start`; NONE past the
// vocabulary, NOT_FINITE for infinities too.
fn quad_keys(start: u32, quad: u32) -> vec4<u32> {
    let bits = logits[start + quad];
    let sign = vec4<u32>(0x80000000u);
    let exponent = vec4<u32>(0x7f800000u);
    let flipped = bits ^ select(sign, vec4<u32>(0xffffffffu), bits >= sign);
    let keys = select(flipped, vec4<u32>(NOT_FINITE), (bits & exponent) == exponent);
    let ids = 4u * quad + vec4<u32>(0u, 1u, 2u, 3u);
    return select(vec4<u32>(NONE), keys, ids < vec4<u32>(params.n_vocab));
}
