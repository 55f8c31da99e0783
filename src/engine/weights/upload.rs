//! Writing weights to the device.

use std::collections::BTreeMap;
use std::ops::Range;

use wgpu::BufferUsages;

use super::matrix::{Matrix, MatrixPart, NormBuffer, RoleBuffers};
use super::order::{Order, locate, paired};
use super::pieces::Pieces;
use super::random::RandomWeights;
use crate::engine::memory::layout::{
    OCTET, TEXEL_BYTES, TEXTURE_ROWS, buffer_row_bytes, in_buffer, in_texture, padded, row_bytes,
    texture_size, texture_width,
};
use crate::engine::memory::sizes::MAX_BATCH;
use crate::error::Result;
use crate::gpu::{Gpu, Store, Target, UNIFORM_BYTES};
use crate::model::Model;
use crate::model::config::Config;
use crate::model::quant::Quant;
use crate::model::role::Role;
use crate::model::tensor::Dtype;
use crate::model::weights::{ByRole, Linear, Norm, Pool, Reader};

/// Bytes handed to the queue before waiting for it: bytes under way are held in host memory, and
/// may leave holes between the weights where device memory is the host's.
const STAGED_BYTES: usize = 8 << 20;

/// Bytes that are read, or made, at a time.
const PIECE_BYTES: usize = 2 << 20;

/// Where the values of matrices come from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Matrices {
    /// Matrices are read from the checkpoint.
    Stored,
    /// Matrices are random values that the device makes.
    Random,
}

/// Writes weights piece by piece, telling how far it is.
pub struct Uploader<'a, 'm> {
    gpu: &'a Gpu,
    target: &'a Target,
    reader: &'a Reader<'m>,
    matrices: Matrices,
    /// Random matrices made so far: each has a seed of its own.
    n_random: u32,
    staged: usize,
    done: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl<'a, 'm> Uploader<'a, 'm> {
    pub fn new(
        gpu: &'a Gpu,
        target: &'a Target,
        reader: &'a Reader<'m>,
        matrices: Matrices,
        progress: &'a mut dyn FnMut(u64),
    ) -> Self {
        Self {
            gpu,
            target,
            reader,
            matrices,
            n_random: 0,
            staged: 0,
            done: 0,
            progress,
        }
    }

    /// The weights of parameter layer `layer`, or those outside of layers, whose matrices the
    /// uploader's reader left unread.
    pub async fn by_role(
        &mut self,
        mut weights: ByRole<'m>,
        config: &Config,
        layer: usize,
    ) -> Result<RoleBuffers> {
        let qk_norm = [Role::QNorm, Role::KNorm].map(|role| weights.norms.remove(&role));
        let norms = weights.norms.iter();
        let norms = norms.map(|(&role, norm)| (role, self.norm(norm))).collect();
        let mut matrices = BTreeMap::new();
        for (role, linear) in weights.linears {
            let order = Order::of(role, config, layer);
            matrices.insert(role, self.matrix(&linear, order).await?);
        }
        Ok(RoleBuffers {
            matrices,
            norms,
            qk_norm: match qk_norm {
                [Some(q), Some(k)] => Some(self.qk_norm([q, k], config)),
                _ => None,
            },
        })
    }

    /// The norms of queries and keys, each of one head or of all of them.
    fn qk_norm(&self, norms: [Norm; 2], config: &Config) -> wgpu::Buffer {
        let (head_dim, rotary_dim) = (config.head_dim, config.rotary_dim());
        let heads = norms.map(|norm| paired(&norm.weight, head_dim, rotary_dim));
        let usage = BufferUsages::STORAGE;
        self.gpu.buffer_with("qk_norm", &heads.concat(), usage)
    }

    pub fn norm(&self, norm: &Norm) -> NormBuffer {
        let mut values = norm.weight.clone();
        values.resize(padded(norm.weight.len()), 0.0);
        values.extend(norm.bias.iter().flatten());
        values.resize(padded(values.len()), 0.0);
        // It may be bound as a uniform buffer, which has a fixed length.
        values.resize(values.len().max(UNIFORM_BYTES as usize / 4), 0.0);
        let usage = BufferUsages::STORAGE | BufferUsages::UNIFORM;
        NormBuffer(self.gpu.buffer_with("norm", &values, usage))
    }

    pub async fn matrix(&mut self, linear: &Linear<'m>, order: Order) -> Result<Matrix> {
        let (n_out, n_in) = (order.n_out(linear.n_out()), linear.n_in());
        let dtype = linear.dtype();
        let row_bytes = buffer_row_bytes(dtype, n_in);
        let in_texture = self.target.uses_textures();
        let limit = match in_texture {
            true => self.target.texture_limit() * TEXTURE_ROWS,
            false => self.target.binding_limit() as usize / row_bytes,
        };
        // Whole groups of the outputs that one invocation computes.
        let rows_a_part = (limit / OCTET * OCTET).max(OCTET).min(n_out);
        let mut parts = Vec::new();
        for first in (0..n_out).step_by(rows_a_part) {
            let n_rows = rows_a_part.min(n_out - first);
            let part_bytes = (n_rows * row_bytes) as u64;
            let name = &linear.matrices[0].name;
            let store = match in_texture {
                true => self.texture(name, texture_width(dtype, n_in), n_rows),
                false => {
                    self.gpu.check_binding(name, part_bytes, "")?;
                    Store::Buffer(self.gpu.storage(name, part_bytes))
                }
            };
            let rows = first..first + n_rows;
            match self.matrices {
                Matrices::Stored => self.rows(&store, rows, linear, order).await?,
                Matrices::Random => self.random(&store, n_rows, dtype, n_in).await?,
            }
            parts.push(MatrixPart {
                store,
                first_row: first as u32,
                n_rows: n_rows as u32,
            });
        }
        let bias = linear.bias.as_ref().map(|bias| {
            let ordered: Vec<f32> = (0..padded(n_out))
                .map(|i| order.source(linear, i).filter(|_| i < n_out))
                .map(|source| source.map_or(0.0, |i| bias[i]))
                .collect();
            self.gpu
                .buffer_with("bias", &ordered, BufferUsages::STORAGE)
        });
        Ok(Matrix {
            dtype,
            n_out: n_out as u32,
            n_octets: (padded(n_in) / OCTET) as u32,
            parts,
            bias,
        })
    }

    fn texture(&self, name: &str, width: usize, n_rows: usize) -> Store {
        let limit = self.target.limits.max_texture_dimension_2d;
        let size = texture_size([width, n_rows.div_ceil(TEXTURE_ROWS)], limit);
        let copied = wgpu::TextureUsages::COPY_DST | wgpu::TextureUsages::COPY_SRC;
        let usage = wgpu::TextureUsages::STORAGE_BINDING | copied;
        let format = wgpu::TextureFormat::Rgba32Uint;
        self.gpu.texture(name, size, format, usage).into()
    }

    /// The pool's values: in a texture of f32, a row of texels for each key or value.
    pub fn pool(&self, values: &[f32], pool: Option<&Pool>) -> Store {
        if !self.target.uses_textures() {
            let usage = BufferUsages::STORAGE;
            return Store::Buffer(self.gpu.buffer_with("pool", values, usage));
        }
        let n_rows = pool.map_or(1, |pool| 2 * pool.n_rows);
        let row_texels = values.len() / 4 / n_rows;
        let usage = wgpu::TextureUsages::STORAGE_BINDING | wgpu::TextureUsages::COPY_DST;
        let format = wgpu::TextureFormat::Rgba32Float;
        let size = [row_texels as u32, n_rows as u32];
        let texture = self.gpu.texture("pool", size, format, usage);
        if !values.is_empty() {
            self.gpu.queue.write_texture(
                texture.as_image_copy(),
                bytemuck::cast_slice(values),
                wgpu::TexelCopyBufferLayout {
                    offset: 0,
                    bytes_per_row: Some(16 * row_texels as u32),
                    rows_per_image: None,
                },
                texture.size(),
            );
        }
        texture.into()
    }

    /// Writes whole rows, from row `first` of the store on. In a texture, `first` begins a row of
    /// texels, and the rest of the last row of texels is filled with zeros.
    fn write(&self, store: &Store, first: usize, dtype: Dtype, n_in: usize, rows: Vec<u8>) {
        let queue = &self.gpu.queue;
        match store {
            Store::Buffer(buffer) => {
                let at = first * buffer_row_bytes(dtype, n_in);
                queue.write_buffer(buffer, at as u64, &in_buffer(dtype, n_in, rows));
            }
            Store::Texture(texture, _) => {
                let texels = in_texture(dtype, n_in, &rows);
                let width = texture_width(dtype, n_in);
                queue.write_texture(
                    wgpu::TexelCopyTextureInfo {
                        origin: wgpu::Origin3d {
                            x: 0,
                            y: (first / TEXTURE_ROWS) as u32,
                            z: 0,
                        },
                        ..texture.as_image_copy()
                    },
                    &texels,
                    wgpu::TexelCopyBufferLayout {
                        offset: 0,
                        bytes_per_row: Some((TEXEL_BYTES * width) as u32),
                        rows_per_image: None,
                    },
                    wgpu::Extent3d {
                        width: width as u32,
                        height: (texels.len() / TEXEL_BYTES / width) as u32,
                        depth_or_array_layers: 1,
                    },
                );
            }
        }
    }

    /// Fills a whole store of `n_rows` rows with random values. A texture belongs to a software
    /// adapter, which runs on the host: its values are made here.
    async fn random(
        &mut self,
        store: &Store,
        n_rows: usize,
        dtype: Dtype,
        n_in: usize,
    ) -> Result<()> {
        self.n_random += 1;
        let random = RandomWeights {
            dtype,
            n_in,
            n_rows,
            seed: self.n_random,
        };
        if let Store::Buffer(buffer) = store {
            random.fill(self.gpu, buffer);
            return self.wrote(n_rows * row_bytes(dtype, n_in), true).await;
        }
        let rows_a_piece = rows_a_piece(row_bytes(dtype, n_in));
        for first in (0..n_rows).step_by(rows_a_piece) {
            let rows = first..n_rows.min(first + rows_a_piece);
            let n_bytes = rows.len() * row_bytes(dtype, n_in);
            self.write(store, first, dtype, n_in, random.rows_in(rows));
            self.wrote(n_bytes, false).await?;
        }
        Ok(())
    }

    /// Writes the outputs `rows` of `linear` into `store`, each padded with zeros.
    async fn rows(
        &mut self,
        store: &Store,
        rows: Range<usize>,
        linear: &Linear<'m>,
        order: Order,
    ) -> Result<()> {
        let (dtype, n_in) = (linear.dtype(), linear.n_in());
        let row_bytes = row_bytes(dtype, n_in);
        // What is quantised on the way is read in a wider format.
        let read_bytes = match dtype {
            Dtype::Quantized(_) => 4 * n_in,
            _ => row_bytes,
        };
        let rows_a_piece = rows_a_piece(read_bytes);
        for first in rows.clone().step_by(rows_a_piece) {
            let n_rows = rows_a_piece.min(rows.end - first);
            let outputs = first..first + n_rows;
            let sources = outputs.map(|i| order.source(linear, i).map(|i| locate(linear, i)));
            let sources: Vec<Option<(usize, usize)>> = sources.collect();
            let pieces = Pieces::read(self.reader, linear, &sources)?;
            let mut piece = vec![0u8; n_rows * row_bytes];
            for (source, out) in sources.iter().zip(piece.chunks_mut(row_bytes)) {
                let Some((tensor, row)) = source.and_then(|source| pieces.find(source)) else {
                    continue;
                };
                if tensor.dtype == dtype {
                    let bytes = tensor.row_bytes(row);
                    out[..bytes.len()].copy_from_slice(bytes);
                } else {
                    let mut wide = vec![0.0; tensor.n_cols()];
                    tensor.read_row(row, &mut wide);
                    let bytes: &[u8] = bytemuck::cast_slice(&wide);
                    out[..bytes.len()].copy_from_slice(bytes);
                }
            }
            drop(pieces);
            let n_bytes = piece.len();
            self.write(store, first - rows.start, dtype, n_in, piece);
            self.wrote(n_bytes, false).await?;
        }
        Ok(())
    }

    /// Counts bytes that were written, and waits for the device after some, or at once.
    async fn wrote(&mut self, n_bytes: usize, at_once: bool) -> Result<()> {
        self.staged += n_bytes;
        self.done += n_bytes as u64;
        (self.progress)(self.done);
        if at_once || self.staged >= STAGED_BYTES {
            self.gpu.queue.submit([]);
            self.gpu.wait().await?;
            self.staged = 0;
        }
        Ok(())
    }
}

/// Rows of so many bytes that make a piece: in a texture, whole rows of texels.
fn rows_a_piece(row_bytes: usize) -> usize {
    (PIECE_BYTES / row_bytes)
        .max(1)
        .next_multiple_of(TEXTURE_ROWS)
}

/// Whether the matrices can lie in textures, and the inputs read with them in uniform buffers.
pub fn fits_textures(target: &Target, model: &Model) -> bool {
    let c = &model.config;
    let widths = [c.hidden, c.q_dim(), c.intermediate];
    let is_wide = model.sizes_by_dtype().contains_key("F32");
    let plain = if is_wide { Dtype::F32 } else { Dtype::F16 };
    let limit = target.texture_limit();
    let fits = |n_in: usize| {
        let quant = model.quant.filter(|quant| quant.fits(n_in));
        let formats = quant.map(|quant| [quant, Quant::OF_EMBEDDING].map(Dtype::Quantized));
        let formats = formats.unwrap_or([plain; 2]);
        formats
            .into_iter()
            .all(|dtype| texture_width(dtype, n_in) <= limit)
    };
    let [hidden, ..] = widths.map(padded);
    let in_uniform = widths.into_iter().map(padded).fold(2 * hidden, usize::max);
    widths.into_iter().all(fits)
        && 4 * in_uniform as u64 <= UNIFORM_BYTES
        // Scores have a row of texels for each row and head.
        && MAX_BATCH * c.n_heads <= limit
}
