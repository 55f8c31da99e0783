//! How keys and values are stored: the types of the key-value cache, and a head's row in each.

use half::f16;

use crate::model::quant::{BLOCK, SCALE_BYTES};

/// How keys and values are stored in the key-value cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvType {
    F32,
    /// Values beyond its range become its largest ones.
    F16,
    /// Blocks of 32 values of a head, the last one of what is left: signed bytes with a scale in
    /// f16. The scale is the block's largest size times 1/127, rounded to f16; a number is the
    /// nearest integer to value / scale, halves down, from -127 to 127.
    Q8_0,
}

/// The types by their names, as flags give them.
pub const KV_TYPES: &[(&str, KvType)] = &[
    ("f16", KvType::F16),
    ("f32", KvType::F32),
    ("q8_0", KvType::Q8_0),
];

/// Values of an octet, of which a head's row has whole ones.
const OCTET: usize = 8;

/// Bytes that a row of q8_0 is padded to: the scales of four blocks.
const SCALES_BYTES: usize = 4 * SCALE_BYTES;

const TEXEL_BYTES: usize = 16;

/// As the shaders have it: with a product every adapter gets the same scale.
const INVERSE_127: f32 = 1.0 / 127.0;

impl KvType {
    pub fn name(self) -> &'static str {
        match self {
            KvType::F32 => "f32",
            KvType::F16 => "f16",
            KvType::Q8_0 => "q8_0",
        }
    }

    /// Bytes of a head's row of so many octets, in a buffer.
    pub fn row_bytes(self, n_octets: usize) -> usize {
        let n = OCTET * n_octets;
        match self {
            KvType::F32 => 4 * n,
            KvType::F16 => 2 * n,
            KvType::Q8_0 => n + (SCALE_BYTES * n.div_ceil(BLOCK)).next_multiple_of(SCALES_BYTES),
        }
    }

    /// Texels of a head's row of so many octets, in a texture.
    pub fn row_texels(self, n_octets: usize) -> usize {
        self.row_bytes(n_octets).div_ceil(TEXEL_BYTES)
    }

    /// Whether it takes a kernel that holds whole heads to write it, as `qkv_store` does; others
    /// linear maps write themselves.
    pub fn takes_whole_heads(self) -> bool {
        self == KvType::Q8_0
    }

    /// The words of a head's row from its values, which are whole octets, as the shaders write
    /// them.
    pub fn encode(self, values: &[f32]) -> Vec<u32> {
        match self {
            KvType::F32 => values.iter().map(|v| v.to_bits()).collect(),
            KvType::F16 => {
                let most = f16::MAX.to_f32();
                let half = |&v: &f32| f16::from_f32(v.clamp(-most, most)).to_le_bytes();
                words(&values.iter().flat_map(half).collect::<Vec<u8>>())
            }
            KvType::Q8_0 => words(&encode_q8_0(values)),
        }
    }

    /// The values of a head's row of so many octets from its words. Exact.
    pub fn decode(self, words: &[u32], n_octets: usize) -> Vec<f32> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        match self {
            KvType::F32 => words.iter().map(|&word| f32::from_bits(word)).collect(),
            KvType::F16 => bytes.chunks_exact(2).map(half_of).collect(),
            KvType::Q8_0 => {
                let (numbers, scales) = bytes.split_at(OCTET * n_octets);
                let blocks = numbers.chunks(BLOCK).zip(scales.chunks_exact(SCALE_BYTES));
                let value = |(block, scale): (&[u8], &[u8])| -> Vec<f32> {
                    let scale = half_of(scale);
                    block.iter().map(|&q| f32::from(q as i8) * scale).collect()
                };
                blocks.flat_map(value).collect()
            }
        }
    }

    /// The values of a head's row, whole octets, as the cache gives them back.
    pub fn rounded(self, values: &[f32]) -> Vec<f32> {
        self.decode(&self.encode(values), values.len() / OCTET)
    }
}

/// Numbers, then scales, which are padded with zeros.
fn encode_q8_0(values: &[f32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut scales = Vec::new();
    for block in values.chunks(BLOCK) {
        let largest = block.iter().fold(0.0f32, |max, v| max.max(v.abs()));
        let scale = f16::from_f32((largest * INVERSE_127).min(f16::MAX.to_f32()));
        scales.extend(scale.to_le_bytes());
        bytes.extend(block.iter().map(|&v| number(v, scale.to_f32()) as u8));
    }
    bytes.extend(scales);
    bytes.resize(KvType::Q8_0.row_bytes(values.len() / OCTET), 0);
    bytes
}

/// In doubles, which tell a half from its neighbours.
fn number(value: f32, scale: f32) -> i8 {
    if scale == 0.0 {
        return 0;
    }
    let quotient = f64::from(value) / f64::from(scale);
    (quotient - 0.5).ceil().clamp(-127.0, 127.0) as i8
}

fn half_of(bytes: &[u8]) -> f32 {
    f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
}

fn words(bytes: &[u8]) -> Vec<u32> {
    let words = bytes.chunks_exact(4);
    words
        .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_take_half_of_f16() {
        for (n_octets, bytes, texels) in [
            (1, 16, 1),
            (3, 32, 2),
            (8, 72, 5),
            (10, 88, 6),
            (12, 104, 7),
            (16, 136, 9),
            (17, 152, 10),
            (32, 272, 17),
        ] {
            let q8_0 = KvType::Q8_0;
            assert_eq!(q8_0.row_bytes(n_octets), bytes, "{n_octets}");
            assert_eq!(q8_0.row_texels(n_octets), texels, "{n_octets}");
            assert_eq!(q8_0.encode(&vec![1.0; 8 * n_octets]).len() * 4, bytes);
            let of_f16 = KvType::F16.row_bytes(n_octets);
            assert!(!(8..=16).contains(&n_octets) || 16 * bytes <= 9 * of_f16);
        }
    }

    #[test]
    fn a_block_has_a_scale_and_the_last_one_may_be_short() {
        let mut values = vec![0.0; 40];
        (values[0], values[1], values[31]) = (127.0, -2.4, 2.6);
        (values[32], values[39]) = (-254.0, 5.0);
        let mut expected = vec![0.0; 40];
        (expected[0], expected[1], expected[31]) = (127.0, -2.0, 3.0);
        // Two and a half times the scale: down.
        (expected[32], expected[39]) = (-254.0, 4.0);
        assert_eq!(KvType::Q8_0.rounded(&values), expected);
    }

    #[test]
    fn no_value_is_infinite_or_no_number() {
        let values = [
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::MAX,
            1.0,
            0.0,
            0.0,
            0.0,
            0.0,
        ];
        let most = 127.0 * 65504.0;
        let rounded = KvType::Q8_0.rounded(&values);
        assert_eq!(rounded[..4], [most, -most, most, 0.0]);
        let nearly_zero = [1e-9; 8];
        assert_eq!(KvType::Q8_0.rounded(&nearly_zero), [0.0; 8]);
        let with_nan = [f32::NAN, 127.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(KvType::Q8_0.rounded(&with_nan)[..2], [0.0, 127.0]);
        assert_eq!(
            KvType::F16.rounded(&values)[..3],
            [65504.0, -65504.0, 65504.0]
        );
    }

    #[test]
    fn rounding_again_changes_nothing() {
        let values: Vec<f32> = (0..72).map(|i| (i as f32 * 1.7).sin() * 3.0).collect();
        for (name, kv_type) in KV_TYPES {
            assert_eq!(*name, kv_type.name());
            let rounded = kv_type.rounded(&values);
            assert_eq!(kv_type.rounded(&rounded), rounded, "{name}");
            let pairs = rounded.iter().zip(&values);
            let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 3.0 / 250.0, "{name}: {worst}");
        }
    }
}
