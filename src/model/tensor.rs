//! Weights as they lie in the file: typed bytes with a shape, widened row by row on demand.

use half::{bf16, f16, slice::HalfFloatSliceExt};

pub use super::bytes::Bytes;
use super::quant::{BLOCK, Quant};

/// The types weights are stored in. All convert to `f32` exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dtype {
    F32,
    F16,
    Bf16,
    Quantized(Quant),
}

impl Dtype {
    /// Bytes of `n` elements; quantised ones fill whole blocks.
    pub fn n_bytes(self, n: usize) -> usize {
        match self {
            Dtype::F32 => 4 * n,
            Dtype::F16 | Dtype::Bf16 => 2 * n,
            Dtype::Quantized(quant) => quant.n_bytes(n),
        }
    }
}

/// A tensor of the checkpoint. The bytes are little-endian and may be unaligned.
#[derive(Clone, Debug)]
pub struct Tensor<'a> {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Bytes<'a>,
}

impl Tensor<'_> {
    /// Rows of a matrix, or the one row of a vector.
    pub fn n_rows(&self) -> usize {
        self.shape[..self.shape.len() - 1].iter().product()
    }

    /// Length of the last dimension.
    pub fn n_cols(&self) -> usize {
        self.shape[self.shape.len() - 1]
    }

    /// The bytes of row `i`.
    pub fn row_bytes(&self, i: usize) -> &[u8] {
        let stride = self.dtype.n_bytes(self.n_cols());
        &self.bytes[i * stride..(i + 1) * stride]
    }

    /// Row `i`, widened into `out` `[n_cols]`.
    pub fn read_row(&self, i: usize, out: &mut [f32]) {
        widen(self.dtype, self.row_bytes(i), out);
    }

    /// The index of the first element that is infinite or no number.
    pub fn first_not_finite(&self) -> Option<usize> {
        // Sums over runs instead of early exits, so that the scan vectorises.
        const RUN: usize = 4096;
        if let Dtype::Quantized(quant) = self.dtype {
            return quant.first_not_finite(&self.bytes).map(|i| i * BLOCK);
        }
        let n = self.dtype.n_bytes(1);
        // The high byte of an element, and with f32 and bf16 a bit of the next, hold the exponent.
        let is_special = |b: &[u8]| match self.dtype {
            Dtype::F16 => b[1] & 0x7c == 0x7c,
            _ => (b[n - 1] & 0x7f == 0x7f) & (b[n - 2] & 0x80 == 0x80),
        };
        let special_run = self.bytes.chunks(RUN).position(|run| {
            let count: u32 = run.chunks_exact(n).map(|b| u32::from(is_special(b))).sum();
            count > 0
        })?;
        let start = special_run * RUN;
        let within = self.bytes[start..].chunks_exact(n).position(is_special)?;
        Some(start / n + within)
    }

    /// All elements, widened.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.shape.iter().product()];
        widen(self.dtype, &self.bytes, &mut out);
        out
    }

    /// A copy whose rows, of whole blocks, are quantised.
    pub fn quantized(&self, quant: Quant) -> Tensor<'static> {
        let mut bytes = Vec::with_capacity(self.n_rows() * quant.n_bytes(self.n_cols()));
        let mut row = vec![0.0; self.n_cols()];
        for i in 0..self.n_rows() {
            self.read_row(i, &mut row);
            quant.encode(&row, &mut bytes);
        }
        Tensor {
            name: self.name.clone(),
            dtype: Dtype::Quantized(quant),
            shape: self.shape.clone(),
            bytes: Bytes::Owned(bytes),
        }
    }

    /// A copy with rows and columns of a matrix that is not quantised exchanged.
    pub fn transposed(&self) -> Tensor<'static> {
        let (rows, cols, n) = (self.n_rows(), self.n_cols(), self.dtype.n_bytes(1));
        let mut bytes = vec![0; self.bytes.len()];
        for (i, element) in self.bytes.chunks_exact(n).enumerate() {
            let at = ((i % cols) * rows + i / cols) * n;
            bytes[at..at + n].copy_from_slice(element);
        }
        Tensor {
            name: self.name.clone(),
            dtype: self.dtype,
            shape: vec![cols, rows],
            bytes: Bytes::Owned(bytes),
        }
    }
}

/// Widens little-endian elements to `f32`; `out` has as many elements as `bytes` holds.
fn widen(dtype: Dtype, bytes: &[u8], out: &mut [f32]) {
    // Copied into an aligned buffer in short runs, so that the conversions vectorise.
    const RUN: usize = 512;
    match dtype {
        Dtype::F32 => {
            for (x, b) in out.iter_mut().zip(bytes.chunks_exact(4)) {
                *x = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            }
        }
        Dtype::F16 => {
            let mut run = [f16::ZERO; RUN];
            for (out, bytes) in out.chunks_mut(RUN).zip(bytes.chunks(2 * RUN)) {
                let run = &mut run[..out.len()];
                bytemuck::cast_slice_mut(run).copy_from_slice(bytes);
                run.convert_to_f32_slice(out);
            }
        }
        Dtype::Bf16 => {
            for (x, b) in out.iter_mut().zip(bytes.chunks_exact(2)) {
                *x = bf16::from_le_bytes([b[0], b[1]]).to_f32();
            }
        }
        Dtype::Quantized(quant) => quant.decode(bytes, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_formats_widen_exactly() {
        let values: Vec<f32> = vec![0.0, -0.0, 1.5, -65504.0, 6.0e-8, 3.0e-5];
        for dtype in [Dtype::F16, Dtype::Bf16] {
            let bits: Vec<u16> = values
                .iter()
                .map(|&v| match dtype {
                    Dtype::F16 => f16::from_f32(v).to_bits(),
                    _ => bf16::from_f32(v).to_bits(),
                })
                .collect();
            let bytes: Vec<u8> = bits.iter().flat_map(|b| b.to_le_bytes()).collect();
            let mut out = vec![0.0; values.len()];
            widen(dtype, &bytes, &mut out);
            for (x, &b) in out.iter().zip(&bits) {
                let expected = match dtype {
                    Dtype::F16 => f16::from_bits(b).to_f64(),
                    _ => bf16::from_bits(b).to_f64(),
                };
                assert_eq!(f64::from(*x), expected);
            }
        }
    }

    #[test]
    fn what_is_not_finite_is_found() {
        for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16] {
            let bytes_of = |v: f32| match dtype {
                Dtype::F32 => v.to_le_bytes().to_vec(),
                Dtype::F16 => f16::from_f32(v).to_le_bytes().to_vec(),
                _ => bf16::from_f32(v).to_le_bytes().to_vec(),
            };
            for special in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                for at in [0, 1, 2047, 2048, 4999] {
                    let values = (0..5000).map(|i| if i == at { special } else { -60_000.0 });
                    let mut bytes: Vec<u8> = values.flat_map(bytes_of).collect();
                    let tensor = |bytes: &[u8]| Tensor {
                        name: "t".into(),
                        dtype,
                        shape: vec![5000],
                        bytes: Bytes::Owned(bytes.to_vec()),
                    };
                    let found = tensor(&bytes).first_not_finite();
                    assert_eq!(found, Some(at), "{dtype:?} {special}");
                    let n = dtype.n_bytes(1);
                    bytes[at * n..][..n].fill(0);
                    assert_eq!(tensor(&bytes).first_not_finite(), None);
                }
            }
        }
    }

    #[test]
    fn transposing_twice_is_the_identity() {
        let tensor = Tensor {
            name: "t".into(),
            dtype: Dtype::F16,
            shape: vec![3, 5],
            bytes: Bytes::Owned((0..30).collect()),
        };
        let once = tensor.transposed();
        assert_eq!(once.shape, [5, 3]);
        assert_eq!(once.row_bytes(1)[2..4], tensor.row_bytes(1)[2..4]);
        assert_eq!(once.transposed().bytes, tensor.bytes);
    }
}
