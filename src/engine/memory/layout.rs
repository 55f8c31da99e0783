//! How a matrix's rows lie on the device, in buffers and in textures.

use crate::model::quant::SCALE_BYTES;
use crate::model::tensor::Dtype;

/// Values of an octet: rows are padded to whole ones, so that shaders read 16 bytes at a time.
pub const OCTET: usize = 8;

/// Bytes of a texel, and of one read of a buffer by a shader.
pub const TEXEL_BYTES: usize = 16;

/// Rows of a matrix that share a row of texels.
pub const TEXTURE_ROWS: usize = 8;

/// Length of a row in memory, in values.
pub fn padded(n: usize) -> usize {
    n.next_multiple_of(OCTET)
}

/// Bytes of a row of `n_in` values as [`in_buffer`] and [`in_texture`] take it.
pub fn row_bytes(dtype: Dtype, n_in: usize) -> usize {
    dtype.n_bytes(padded(n_in))
}

/// Bytes of a row of `n_in` values in a buffer: whole texels.
pub fn buffer_row_bytes(dtype: Dtype, n_in: usize) -> usize {
    row_bytes(dtype, n_in).next_multiple_of(TEXEL_BYTES)
}

/// Texels in the width of a texture of rows of `n_in` values.
pub fn texture_width(dtype: Dtype, n_in: usize) -> usize {
    row_bytes(dtype, n_in) * TEXTURE_ROWS / TEXEL_BYTES
}

/// The size of a texture that holds a matrix of that many texels: no side is a power of two, if
/// `limit` allows it. llvmpipe compiles a kernel anew for textures that differ in this.
pub fn texture_size(sides: [usize; 2], limit: u32) -> [u32; 2] {
    sides.map(|side| {
        let side = side as u32;
        let mut longer = side..=limit;
        longer.find(|n| !n.is_power_of_two()).unwrap_or(side)
    })
}

/// Rows as they lie in a buffer: as they are, or, quantised, the numbers of all blocks and then
/// their scales, padded with zeros.
pub fn in_buffer(dtype: Dtype, n_in: usize, rows: Vec<u8>) -> Vec<u8> {
    let Dtype::Quantized(quant) = dtype else {
        return rows;
    };
    let mut out = Vec::new();
    for row in rows.chunks(row_bytes(dtype, n_in)) {
        let blocks = row.chunks(quant.block_bytes());
        let (scales, numbers): (Vec<_>, Vec<_>) = blocks.map(|b| b.split_at(SCALE_BYTES)).unzip();
        out.extend(numbers.concat());
        out.extend(scales.concat());
        out.resize(out.len().next_multiple_of(TEXEL_BYTES), 0);
    }
    out
}

/// Rows as they lie in a texture: eight side by side, texel by texel; of a block, the eight scales
/// in a texel come first. The last rows of texels are filled with zeros.
pub fn in_texture(dtype: Dtype, n_in: usize, rows: &[u8]) -> Vec<u8> {
    let row_bytes = row_bytes(dtype, n_in);
    let (step_bytes, scale_bytes) = match dtype {
        Dtype::Quantized(quant) => (quant.block_bytes(), SCALE_BYTES),
        _ => (TEXEL_BYTES, 0),
    };
    let n_rows = rows.len() / row_bytes;
    let mut out = vec![0; n_rows.next_multiple_of(TEXTURE_ROWS) * row_bytes];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    for (i, row) in rows.chunks(row_bytes).enumerate() {
        let side = i % TEXTURE_ROWS;
        for (step, bytes) in row.chunks(step_bytes).enumerate() {
            let at = TEXTURE_ROWS * (i / TEXTURE_ROWS * row_bytes + step * step_bytes);
            let (scale, texels) = bytes.split_at(scale_bytes);
            put(at + side * scale_bytes, scale);
            let first = at + TEXTURE_ROWS * scale_bytes;
            for (t, texel) in texels.chunks(TEXEL_BYTES).enumerate() {
                put(first + (t * TEXTURE_ROWS + side) * TEXEL_BYTES, texel);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_side_of_a_texture_is_a_power_of_two() {
        assert_eq!(texture_size([1, 2], 16), [3, 3]);
        assert_eq!(texture_size([7, 8], 16), [7, 9]);
        // Unless there is no room for another.
        assert_eq!(texture_size([15, 16], 16), [15, 16]);
    }
}
