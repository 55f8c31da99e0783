//! Random weights that the device makes itself, for measuring shapes without a checkpoint.

use std::ops::Range;

use half::{bf16, f16};

use crate::engine::memory::layout::{buffer_row_bytes, row_bytes};
use crate::gpu::Gpu;
use crate::gpu::plan::{Plan, Rows};
use crate::kernels::random_weights::{Params, call};
use crate::model::quant::{BLOCK, Quant, SCALE_BYTES};
use crate::model::tensor::Dtype;

/// Rows of a matrix whose values have the size that keeps activations near 1: about
/// `1 / sqrt(n_in)`. They depend on `seed` alone.
#[derive(Clone, Copy, Debug)]
pub struct RandomWeights {
    pub dtype: Dtype,
    pub n_in: usize,
    pub n_rows: usize,
    pub seed: u32,
}

/// Root of the mean square of a quantised number that takes all of its values alike.
fn typical_number(quant: Quant) -> f64 {
    match quant {
        Quant::Q8_0 => 74.0,
        Quant::Q4_0 => 4.6,
    }
}

impl RandomWeights {
    /// How the kernel makes them, as they lie in a buffer.
    pub fn params(&self) -> Params {
        let Self { dtype, n_in, .. } = *self;
        let row_words = buffer_row_bytes(dtype, n_in) / 4;
        let size = 1.0 / (n_in as f64).sqrt();
        // Floating-point numbers keep one exponent, sign and fraction are random.
        let one = |exponent_of: u32| exponent_of | exponent_of << 16;
        let floats = |bits: u32, random_bits: u32| (bits & !random_bits, random_bits);
        let (n_bytes, (set_bits, random_bits)) = match dtype {
            Dtype::F32 => (4 * n_in, floats((size as f32).to_bits(), 0x807f_ffff)),
            Dtype::F16 => {
                let bits = one(f16::from_f64(size).to_bits().into());
                (2 * n_in, floats(bits, 0x83ff_83ff))
            }
            Dtype::Bf16 => {
                let bits = one(bf16::from_f64(size).to_bits().into());
                (2 * n_in, floats(bits, 0x807f_807f))
            }
            Dtype::Quantized(quant) => {
                let n_bytes = quant.n_bytes(n_in) - n_in / BLOCK * SCALE_BYTES;
                (n_bytes, (0, u32::MAX))
            }
        };
        let (scale_words, scales) = match dtype {
            Dtype::Quantized(quant) => {
                let scale = f16::from_f64(size / typical_number(quant));
                let n_bytes = n_in / BLOCK * SCALE_BYTES;
                (n_bytes.div_ceil(4), one(scale.to_bits().into()))
            }
            _ => (0, 0),
        };
        Params {
            n_words: (self.n_rows * row_words) as u32,
            n_invocations: 0,
            row_words: row_words as u32,
            number_words: n_bytes.div_ceil(4) as u32,
            scale_words: scale_words as u32,
            random_bits,
            set_bits,
            scales,
            seed: self.seed,
        }
    }

    /// Has the device fill `buffer` with them.
    pub fn fill(&self, gpu: &Gpu, buffer: &wgpu::Buffer) {
        let unused = gpu.buffer("indirect", 12, wgpu::BufferUsages::INDIRECT);
        let plan = Plan::new(gpu, &[(call(self.params(), buffer), Rows::One)], &unused);
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        plan.encode(&mut encoder, &[]);
        gpu.queue.submit([encoder.finish()]);
    }

    /// The words that [`fill`](Self::fill) leaves in a buffer.
    pub fn words(&self) -> Vec<u32> {
        self.words_in(0..self.n_rows)
    }

    /// The words of some rows.
    fn words_in(&self, rows: Range<usize>) -> Vec<u32> {
        let p = self.params();
        let start = hash(p.seed);
        let word = |i: u32| match i % p.row_words {
            place if place < p.number_words => {
                hash(start.wrapping_add(i)) & p.random_bits | p.set_bits
            }
            place if place < p.number_words + p.scale_words => p.scales,
            _ => 0,
        };
        let place = |row: usize| row as u32 * p.row_words;
        (place(rows.start)..place(rows.end)).map(word).collect()
    }

    /// All rows as [`rows_in`](Self::rows_in) makes them.
    pub fn rows(&self) -> Vec<u8> {
        self.rows_in(0..self.n_rows)
    }

    /// Rows of these values as checkpoints have them, blocks with their scales.
    pub fn rows_in(&self, rows: Range<usize>) -> Vec<u8> {
        let n_rows = rows.len();
        let words = self.words_in(rows);
        let bytes: &[u8] = bytemuck::cast_slice(&words);
        let stored = row_bytes(self.dtype, self.n_in);
        let rows = bytes.chunks(buffer_row_bytes(self.dtype, self.n_in));
        let Dtype::Quantized(quant) = self.dtype else {
            return rows.flat_map(|row| &row[..stored]).copied().collect();
        };
        let n_blocks = self.n_in / BLOCK;
        let block_bytes = quant.block_bytes() - SCALE_BYTES;
        let mut out = Vec::with_capacity(n_rows * stored);
        for row in rows {
            let (numbers, scales) = row.split_at(n_blocks * block_bytes);
            for (numbers, scale) in numbers.chunks(block_bytes).zip(scales.chunks(SCALE_BYTES)) {
                out.extend(scale);
                out.extend(numbers);
            }
        }
        out
    }
}

/// The integer hash `lowbias32` by Chris Wellons, as in the shader.
fn hash(n: u32) -> u32 {
    let n = (n ^ n >> 16).wrapping_mul(0x7feb_352d);
    let n = (n ^ n >> 15).wrapping_mul(0x846c_a68b);
    n ^ n >> 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::memory::layout::in_buffer;
    use crate::model::tensor::{Bytes, Tensor};

    const DTYPES: [Dtype; 5] = [
        Dtype::F32,
        Dtype::F16,
        Dtype::Bf16,
        Dtype::Quantized(Quant::Q8_0),
        Dtype::Quantized(Quant::Q4_0),
    ];

    #[test]
    fn values_have_the_size_that_keeps_activations_near_one() {
        for dtype in DTYPES {
            let random = RandomWeights {
                dtype,
                n_in: 96,
                n_rows: 50,
                seed: 7,
            };
            let tensor = Tensor {
                name: "random".to_string(),
                dtype,
                shape: vec![50, 96],
                bytes: Bytes::Owned(random.rows()),
            };
            let values = tensor.to_f32();
            let n = values.len() as f32;
            let square = values.iter().map(|v| v * v).sum::<f32>() / n * 96.0;
            assert!((0.5..4.0).contains(&square), "{dtype:?} {square}");
            let mean = values.iter().sum::<f32>() / n * 96f32.sqrt();
            assert!(mean.abs() < 0.15, "{dtype:?} {mean}");
        }
    }

    #[test]
    fn a_buffer_holds_the_rows_of_a_checkpoint() {
        for dtype in DTYPES {
            let random = RandomWeights {
                dtype,
                n_in: 32,
                n_rows: 3,
                seed: 1,
            };
            let bytes = in_buffer(dtype, 32, random.rows());
            // Where a row has one block, the kernel writes its scale twice into a word.
            let words = random.words();
            let filled: &[u8] = bytemuck::cast_slice(&words);
            let n = row_bytes(dtype, 32);
            for (row, filled) in bytes
                .chunks(filled.len() / 3)
                .zip(filled.chunks(filled.len() / 3))
            {
                assert_eq!(row[..n], filled[..n], "{dtype:?}");
            }
        }
    }
}
