//! Matrices as they are stored in buffers and in textures.

use half::{bf16, f16};
use wgpu::TextureViewDimension;
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::model::quant::{BLOCK, Quant, SCALE_BYTES};
use ztt_wgpu::model::tensor::Dtype;

use super::image::Image;
use super::{pack, padded};

pub const Q8_0: Dtype = Dtype::Quantized(Quant::Q8_0);
pub const Q4_0: Dtype = Dtype::Quantized(Quant::Q4_0);

/// Whether a matrix of `width` inputs is stored in this type.
pub fn fits(dtype: Dtype, width: usize) -> bool {
    match dtype {
        Dtype::Quantized(quant) => quant.fits(width),
        _ => true,
    }
}

/// A matrix as it is stored: its words, rows padded with zeros, and its values, not padded.
pub struct Stored {
    pub words: Vec<u32>,
    pub values: Vec<f32>,
}

/// Words of a row of `width` values in a buffer.
pub fn row_words(dtype: Dtype, width: usize) -> usize {
    dtype.n_bytes(padded(width)).div_ceil(16) * 4
}

pub fn stored(dtype: Dtype, values: &[f32], width: usize) -> Stored {
    let mut stored = Stored {
        words: Vec::new(),
        values: Vec::new(),
    };
    for row in values.chunks(width) {
        let (words, rounded) = match dtype {
            Dtype::F32 => (row.iter().map(|v| v.to_bits()).collect(), row.to_vec()),
            Dtype::F16 => halves(
                row,
                |v| f16::from_f32(v).to_bits(),
                |b| f16::from_bits(b).into(),
            ),
            Dtype::Bf16 => halves(
                row,
                |v| bf16::from_f32(v).to_bits(),
                |b| bf16::from_bits(b).into(),
            ),
            Dtype::Quantized(quant) => quantised(quant, row),
        };
        stored.words.extend(words);
        stored.values.extend(rounded);
        let n_words = stored.words.len();
        let row_words = row_words(dtype, width);
        stored.words.resize(n_words.next_multiple_of(row_words), 0);
    }
    stored
}

fn halves(row: &[f32], round: fn(f32) -> u16, widen: fn(u16) -> f32) -> (Vec<u32>, Vec<f32>) {
    let halves: Vec<u16> = row.iter().map(|&v| round(v)).collect();
    (pack(&halves), halves.into_iter().map(widen).collect())
}

/// The numbers of all blocks, then their scales.
fn quantised(quant: Quant, row: &[f32]) -> (Vec<u32>, Vec<f32>) {
    let mut blocks = Vec::new();
    quant.encode(row, &mut blocks);
    let mut values = vec![0.0; row.len()];
    quant.decode(&blocks, &mut values);
    let blocks = blocks.chunks(quant.block_bytes());
    let (scales, numbers): (Vec<_>, Vec<_>) = blocks.map(|b| b.split_at(SCALE_BYTES)).unzip();
    let mut bytes = [numbers.concat(), scales.concat()].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    (bytemuck::pod_collect_to_vec(&bytes), values)
}

/// Weights, rows as in a buffer, in a texture: eight rows side by side, texel by texel; of a block
/// the eight scales first.
pub fn weights_texture(gpu: &Gpu, words: &[u32], dtype: Dtype, width: usize) -> wgpu::TextureView {
    let rows: Vec<&[u32]> = words.chunks(row_words(dtype, width)).collect();
    let mut texels = Vec::new();
    for rows in rows.chunks(8) {
        // Rows past the end are NaN, as are all others that no kernel may use.
        let nothing = vec![u32::MAX; rows[0].len()];
        let eight: Vec<&[u32]> = (0..8)
            .map(|i| *rows.get(i).unwrap_or(&&nothing[..]))
            .collect();
        match dtype {
            Dtype::Quantized(quant) => texels.extend(blocks_of(quant, &eight, width)),
            _ => {
                let n_texels = rows[0].len() / 4;
                let columns =
                    (0..n_texels).flat_map(|x| eight.iter().map(move |row| &row[4 * x..][..4]));
                texels.extend(columns.flatten());
            }
        }
    }
    let height = rows.len().div_ceil(8);
    let size = [texels.len() / 4 / height, height, 1];
    let image = Image::new(gpu, wgpu::TextureFormat::Rgba32Uint, size);
    image.write(gpu, &texels);
    image.view(TextureViewDimension::D2)
}

/// Eight rows of blocks as a row of texels.
fn blocks_of(quant: Quant, rows: &[&[u32]], width: usize) -> Vec<u32> {
    let n_blocks = width / BLOCK;
    let block_words = (quant.block_bytes() - SCALE_BYTES) / 4;
    let mut words = Vec::new();
    for block in 0..n_blocks {
        let scale =
            |row: &&[u32]| (row[n_blocks * block_words + block / 2] >> (block % 2 * 16)) as u16;
        let scales: Vec<u16> = rows.iter().map(scale).collect();
        words.extend(pack(&scales));
        for at in (0..block_words).step_by(4) {
            for row in rows {
                words.extend(&row[block * block_words + at..][..4]);
            }
        }
    }
    words
}
