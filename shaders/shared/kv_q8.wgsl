// A head's row of the KV cache in q8_0: first its octets, each a pair of words of signed bytes,
// then the scales of its blocks, in f16, four to a pair. A block is four octets; the last one of a
// head may have fewer. In textures a row is padded to whole texels. Expects `HEAD_OCTETS`.

const Q8_BLOCK: u32 = 4u; // octets
const Q8_SCALED: u32 = 16u; // octets whose scales are in one pair

// Pairs of words of a row.
fn q8_pairs() -> u32 {
    return HEAD_OCTETS + (HEAD_OCTETS + Q8_SCALED - 1u) / Q8_SCALED;
}

// Texels of a row.
fn q8_texels() -> u32 {
    return (q8_pairs() + 1u) / 2u;
}

// The pair of a row that has the scale of an octet.
fn q8_scale_pair(octet: u32) -> u32 {
    return HEAD_OCTETS + octet / Q8_SCALED;
}

// One of two pairs that are read together.
fn pair_of_two(two: vec4<u32>, pair: u32) -> vec2<u32> {
    return select(two.xy, two.zw, (pair & 1u) == 1u);
}
