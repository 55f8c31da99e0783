//! Quantised weights in GGML's formats: blocks of 32 values along a row, each with a scale in f16.

use half::f16;

/// Values of a block.
pub const BLOCK: usize = 32;

/// Bytes of a block's scale, with which it begins.
pub const SCALE_BYTES: usize = 2;

/// A format of quantised weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Quant {
    /// `q * scale`, `q` a signed byte each.
    Q8_0,
    /// `(q - 8) * scale`, `q` four bits each: value `i` of the first 16 in the low half of byte
    /// `i`, value `16 + i` in the high half.
    Q4_0,
}

/// The formats by their names, as flags and `config.json` give them.
pub const QUANTS: &[(&str, Quant)] = &[("q8_0", Quant::Q8_0), ("q4_0", Quant::Q4_0)];

impl Quant {
    pub fn name(self) -> &'static str {
        match self {
            Quant::Q8_0 => "q8_0",
            Quant::Q4_0 => "q4_0",
        }
    }

    /// The format of the embedding and the output projection, for any format of the layers: four
    /// bits are too few for them.
    pub const OF_EMBEDDING: Quant = Quant::Q8_0;

    /// Bytes of a block, its scale included.
    pub fn block_bytes(self) -> usize {
        match self {
            Quant::Q8_0 => SCALE_BYTES + BLOCK,
            Quant::Q4_0 => SCALE_BYTES + BLOCK / 2,
        }
    }

    /// Bytes of `n` values, which fill whole blocks.
    pub fn n_bytes(self, n: usize) -> usize {
        n / BLOCK * self.block_bytes()
    }

    /// Whether a matrix of `n_in` inputs can be held in this format: only whole blocks are.
    pub fn fits(self, n_in: usize) -> bool {
        n_in.is_multiple_of(BLOCK)
    }

    /// Appends the blocks of `values`, which fill whole ones, to `out`.
    pub fn encode(self, values: &[f32], out: &mut Vec<u8>) {
        for block in values.chunks_exact(BLOCK) {
            match self {
                Quant::Q8_0 => encode_q8_0(block, out),
                Quant::Q4_0 => encode_q4_0(block, out),
            }
        }
    }

    /// Widens blocks into `out`. Exact: a value has at most 8 bits and a scale 11.
    pub fn decode(self, bytes: &[u8], out: &mut [f32]) {
        let blocks = bytes.chunks_exact(self.block_bytes());
        for (block, out) in blocks.zip(out.chunks_exact_mut(BLOCK)) {
            let (scale, quants) = block.split_at(SCALE_BYTES);
            let scale = scale_of(scale).to_f32();
            match self {
                Quant::Q8_0 => {
                    for (x, &q) in out.iter_mut().zip(quants) {
                        *x = f32::from(q as i8) * scale;
                    }
                }
                Quant::Q4_0 => {
                    let (low, high) = out.split_at_mut(BLOCK / 2);
                    for ((low, high), &pair) in low.iter_mut().zip(high).zip(quants) {
                        *low = (f32::from(pair & 15) - 8.0) * scale;
                        *high = (f32::from(pair >> 4) - 8.0) * scale;
                    }
                }
            }
        }
    }

    /// The index of the first block whose scale is infinite or no number.
    pub fn first_not_finite(self, bytes: &[u8]) -> Option<usize> {
        let mut blocks = bytes.chunks_exact(self.block_bytes());
        blocks.position(|block| !scale_of(block).is_finite())
    }
}

/// The scale that `block` begins with.
fn scale_of(block: &[u8]) -> f16 {
    f16::from_le_bytes([block[0], block[1]])
}

/// The inverse of a scale before it is rounded to f16, by which GGML divides; 0 for a block of
/// zeros.
fn inverse(scale: f32) -> f32 {
    match scale == 0.0 {
        true => 0.0,
        false => 1.0 / scale,
    }
}

/// As GGML's `quantize_row_q8_0_ref`: halves are rounded away from zero.
fn encode_q8_0(block: &[f32], out: &mut Vec<u8>) {
    let largest = block.iter().fold(0.0f32, |max, v| max.max(v.abs()));
    let scale = largest / 127.0;
    let inverse = inverse(scale);
    out.extend(f16::from_f32(scale).to_le_bytes());
    out.extend(block.iter().map(|v| (v * inverse).round() as i8 as u8));
}

/// As GGML's `quantize_row_q4_0_ref`: of values of the same largest size the first one decides on
/// the sign.
fn encode_q4_0(block: &[f32], out: &mut Vec<u8>) {
    let larger = |max: f32, &v: &f32| if v.abs() > max.abs() { v } else { max };
    let scale = block.iter().fold(0.0, larger) / -8.0;
    let inverse = inverse(scale);
    out.extend(f16::from_f32(scale).to_le_bytes());
    let quant = |v: &f32| ((v * inverse + 8.5) as u8).min(15);
    let (low, high) = block.split_at(BLOCK / 2);
    let pairs = low.iter().zip(high);
    out.extend(pairs.map(|(low, high)| quant(low) | quant(high) << 4));
}
