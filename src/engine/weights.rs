//! The model's weights on the device.

use wgpu::BufferUsages;

use crate::error::Result;
use crate::gpu::{Gpu, KernelClass};
use crate::kernels::{Resource, UNIFORM_BYTES};
use crate::model::Model;
use crate::model::tensor::{Dtype, Tensor};
use crate::model::weights::{Linear, Norm, Pool};

/// Values of an octet: rows are padded to whole ones, so that shaders read 16 bytes at a time.
pub const OCTET: usize = 8;

/// Bytes handed to the queue before waiting for it: what is under way is held in host memory.
const STAGED_BYTES: usize = 32 << 20;

/// A matrix on the device, split by rows where one binding cannot hold it.
pub struct Matrix {
    pub dtype: Dtype,
    pub n_out: u32,
    /// Octets of a row.
    pub n_octets: u32,
    pub parts: Vec<MatrixPart>,
    /// `[n_out]`; `None` where there is none.
    pub bias: Option<wgpu::Buffer>,
}

/// Rows `first_row .. first_row + n_rows` of a matrix.
pub struct MatrixPart {
    pub store: Store,
    pub first_row: u32,
    pub n_rows: u32,
}

/// Where a matrix lies.
pub enum Store {
    Buffer(wgpu::Buffer),
    /// A row of texels for each row of the matrix.
    Texture(wgpu::Texture, wgpu::TextureView),
}

impl Store {
    pub fn resource(&self) -> Resource<'_> {
        match self {
            Store::Buffer(buffer) => Resource::Buffer(buffer),
            Store::Texture(_, view) => Resource::Texture(view),
        }
    }
}

/// Bytes of a texel of a [`Store::Texture`].
const TEXEL_BYTES: usize = 16;

/// A normalisation's vectors.
pub struct NormBuffers {
    pub weight: wgpu::Buffer,
    pub bias: Option<wgpu::Buffer>,
}

/// One parameter layer.
pub struct LayerBuffers {
    pub attn_norm: NormBuffers,
    pub qkv: Matrix,
    /// f32 [query, key][head_dim]: the weights of the norms of each head.
    pub qk_norm: Option<wgpu::Buffer>,
    pub o_proj: Matrix,
    pub mlp_norm: NormBuffers,
    /// With a gate its rows alternate: gate 0, up 0, gate 1, up 1, ...
    pub mlp_in: Matrix,
    pub mlp_out: Matrix,
}

/// All weights.
pub struct Weights {
    pub embedding: Matrix,
    /// Learned positions, f32, rows padded to octets.
    pub positions: Option<wgpu::Buffer>,
    pub layers: Vec<LayerBuffers>,
    pub final_norm: NormBuffers,
    /// `None` where the embedding serves.
    pub lm_head: Option<Matrix>,
    /// f32 `[key, value][row][head][head_stride]`; a placeholder without a pool.
    pub pool: wgpu::Buffer,
}

/// How the rows of stacked matrices follow each other.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    Stacked,
    /// Row 0 of each, then row 1 of each, ...
    Alternating,
}

/// Writes weights piece by piece, telling how far it is.
struct Uploader<'a> {
    gpu: &'a Gpu,
    staged: usize,
    done: u64,
    progress: &'a mut dyn FnMut(u64),
}

/// Length of a row in memory, in values.
pub fn padded(n: usize) -> usize {
    n.next_multiple_of(OCTET)
}

impl Weights {
    /// Uploads the weights of `model`. `progress` gets the bytes written so far.
    pub fn upload(gpu: &Gpu, model: &Model, progress: &mut dyn FnMut(u64)) -> Result<Self> {
        let reader = model.weights();
        let mut uploader = Uploader {
            gpu,
            staged: 0,
            done: 0,
            progress,
        };
        let outer = reader.outer()?;
        let alone = |tensor| Linear {
            matrices: vec![tensor],
            bias: None,
        };
        let embedding = uploader.matrix(&alone(outer.embedding), Order::Stacked)?;
        let lm_head = outer
            .lm_head
            .map(|tensor| uploader.matrix(&alone(tensor), Order::Stacked))
            .transpose()?;
        let mut layers = Vec::with_capacity(model.config.n_layers);
        for i in 0..model.config.n_layers {
            let layer = reader.layer(i)?;
            layers.push(LayerBuffers {
                attn_norm: uploader.norm(&layer.attn_norm),
                qkv: uploader.matrix(&layer.qkv, Order::Stacked)?,
                qk_norm: layer.qk_norm.map(|[q, k]| {
                    let weights = [q.weight, k.weight].concat();
                    gpu.buffer_with("qk_norm", &weights, BufferUsages::STORAGE)
                }),
                o_proj: uploader.matrix(&layer.o_proj, Order::Stacked)?,
                mlp_norm: uploader.norm(&layer.mlp_norm),
                mlp_in: uploader.matrix(&layer.mlp_in, Order::Alternating)?,
                mlp_out: uploader.matrix(&layer.mlp_out, Order::Stacked)?,
            });
        }
        let storage = BufferUsages::STORAGE;
        if let Some(tensor) = &outer.positions {
            let n_bytes = 4 * (tensor.n_rows() * padded(tensor.n_cols())) as u64;
            gpu.check_binding(&tensor.name, n_bytes, "")?;
        }
        let pool = pool_values(model.pool.as_ref(), model.config.head_dim);
        gpu.check_binding("the zero-token pool", 4 * pool.len() as u64, "")?;
        let weights = Self {
            embedding,
            positions: outer.positions.map(|tensor| {
                let rows = padded_rows(&tensor);
                gpu.buffer_with("positions", &rows, storage)
            }),
            layers,
            final_norm: uploader.norm(&outer.final_norm),
            lm_head,
            pool: gpu.buffer_with("pool", &pool, storage),
        };
        gpu.wait()?;
        Ok(weights)
    }
}

/// All rows of a tensor in f32, padded with zeros.
fn padded_rows(tensor: &Tensor) -> Vec<f32> {
    let stride = padded(tensor.n_cols());
    let mut out = vec![0.0; tensor.n_rows() * stride];
    for (i, row) in out.chunks_mut(stride).enumerate() {
        tensor.read_row(i, &mut row[..tensor.n_cols()]);
    }
    out
}

/// Keys, then values (zeros where the pool has none), heads padded with zeros.
fn pool_values(pool: Option<&Pool>, head_dim: usize) -> Vec<f32> {
    let Some(pool) = pool else { return Vec::new() };
    let stride = padded(head_dim);
    let n_vectors = pool.n_rows * pool.n_heads;
    let mut out = vec![0.0; 2 * n_vectors * stride];
    let (keys, values) = out.split_at_mut(n_vectors * stride);
    let put = |to: &mut [f32], from: &[f32]| {
        for (to, from) in to.chunks_mut(stride).zip(from.chunks(head_dim)) {
            to[..head_dim].copy_from_slice(from);
        }
    };
    put(keys, &pool.key);
    if let Some(value) = &pool.value {
        put(values, value);
    }
    out
}

impl Uploader<'_> {
    fn norm(&self, norm: &Norm) -> NormBuffers {
        let buffer = |v: &Vec<f32>| self.gpu.buffer_with("norm", v, BufferUsages::STORAGE);
        NormBuffers {
            weight: buffer(&norm.weight),
            bias: norm.bias.as_ref().map(buffer),
        }
    }

    fn matrix(&mut self, linear: &Linear, order: Order) -> Result<Matrix> {
        let (n_out, n_in) = (linear.n_out(), linear.n_in());
        let dtype = linear.dtype();
        let row_bytes = padded(n_in) * dtype.n_bytes();
        let in_texture = self.fits_texture(n_in, row_bytes);
        let limit = match in_texture {
            true => self.gpu.limits.max_texture_dimension_2d as usize,
            false => self.gpu.binding_limit() as usize / row_bytes,
        };
        // Whole groups of the outputs that one invocation computes.
        let rows_a_part = (limit / OCTET * OCTET).max(OCTET).min(n_out);
        let row_of = |i: usize| locate(linear, order, i);
        let mut parts = Vec::new();
        for first in (0..n_out).step_by(rows_a_part) {
            let n_rows = rows_a_part.min(n_out - first);
            let part_bytes = (n_rows * row_bytes) as u64;
            let name = &linear.matrices[0].name;
            let store = match in_texture {
                true => self.texture(name, row_bytes, n_rows),
                false => {
                    self.gpu.check_binding(name, part_bytes, "")?;
                    Store::Buffer(self.gpu.storage(name, part_bytes))
                }
            };
            self.rows(&store, first..first + n_rows, row_bytes, dtype, row_of)?;
            parts.push(MatrixPart {
                store,
                first_row: first as u32,
                n_rows: n_rows as u32,
            });
        }
        let bias = linear.bias.as_ref().map(|bias| {
            let ordered: Vec<f32> = (0..n_out)
                .map(|i| bias[position(linear, order, i)])
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

    /// Whether a matrix is to lie in a texture, and can: its inputs must fit a uniform buffer.
    fn fits_texture(&self, n_in: usize, row_bytes: usize) -> bool {
        let width = self.gpu.limits.max_texture_dimension_2d as usize;
        self.gpu.kernels == KernelClass::Texture
            && 4 * padded(n_in) as u64 <= UNIFORM_BYTES
            && row_bytes / TEXEL_BYTES <= width
    }

    fn texture(&self, name: &str, row_bytes: usize, n_rows: usize) -> Store {
        let size = [(row_bytes / TEXEL_BYTES) as u32, n_rows as u32];
        let usage = wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST;
        let format = wgpu::TextureFormat::Rgba32Uint;
        let texture = self.gpu.texture(name, size, format, usage);
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        Store::Texture(texture, view)
    }

    /// Writes whole rows, from row `first` of the store on.
    fn write(&self, store: &Store, first: usize, row_bytes: usize, bytes: &[u8]) {
        let queue = &self.gpu.queue;
        match store {
            Store::Buffer(buffer) => queue.write_buffer(buffer, (first * row_bytes) as u64, bytes),
            Store::Texture(texture, _) => queue.write_texture(
                wgpu::TexelCopyTextureInfo {
                    origin: wgpu::Origin3d {
                        x: 0,
                        y: first as u32,
                        z: 0,
                    },
                    ..texture.as_image_copy()
                },
                bytes,
                wgpu::TexelCopyBufferLayout {
                    offset: 0,
                    bytes_per_row: Some(row_bytes as u32),
                    rows_per_image: None,
                },
                wgpu::Extent3d {
                    width: (row_bytes / TEXEL_BYTES) as u32,
                    height: (bytes.len() / row_bytes) as u32,
                    depth_or_array_layers: 1,
                },
            ),
        }
    }

    /// Writes rows into `store`, each padded with zeros to `row_bytes`.
    fn rows<'t>(
        &mut self,
        store: &Store,
        rows: std::ops::Range<usize>,
        row_bytes: usize,
        dtype: Dtype,
        row_of: impl Fn(usize) -> (&'t Tensor<'t>, usize),
    ) -> Result<()> {
        let rows_a_piece = (STAGED_BYTES / 4 / row_bytes).max(1);
        let mut piece = Vec::new();
        for first in rows.clone().step_by(rows_a_piece) {
            let n_rows = rows_a_piece.min(rows.end - first);
            piece.clear();
            piece.resize(n_rows * row_bytes, 0u8);
            for (i, out) in piece.chunks_mut(row_bytes).enumerate() {
                let (tensor, row) = row_of(first + i);
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
            self.write(store, first - rows.start, row_bytes, &piece);
            self.staged += piece.len();
            self.done += piece.len() as u64;
            (self.progress)(self.done);
            if self.staged >= STAGED_BYTES {
                self.gpu.queue.submit([]);
                self.gpu.wait()?;
                self.staged = 0;
            }
        }
        Ok(())
    }
}

/// The matrix and the row in it that become row `i`.
fn locate<'a>(linear: &'a Linear<'a>, order: Order, i: usize) -> (&'a Tensor<'a>, usize) {
    let n = linear.matrices.len();
    if order == Order::Alternating {
        return (&linear.matrices[i % n], i / n);
    }
    let mut row = i;
    for matrix in &linear.matrices {
        if row < matrix.n_rows() {
            return (matrix, row);
        }
        row -= matrix.n_rows();
    }
    unreachable!("row {i} of {}", linear.n_out())
}

/// The output, counted through the stacked matrices, that becomes output `i`.
fn position(linear: &Linear, order: Order, i: usize) -> usize {
    let n = linear.matrices.len();
    match order {
        Order::Stacked => i,
        Order::Alternating => (i % n) * (linear.n_out() / n) + i / n,
    }
}
