//! The model's weights on the device.

use wgpu::BufferUsages;

use super::layout::{
    OCTET, TEXEL_BYTES, TEXTURE_ROWS, buffer_row_bytes, in_buffer, in_texture, padded, row_bytes,
    texture_size, texture_width,
};
use super::random_weights::RandomWeights;
use super::session::MAX_BATCH;
use crate::error::Result;
use crate::gpu::{Gpu, KernelClass, Resource, UNIFORM_BYTES};
use crate::model::Model;
use crate::model::config::Config;
use crate::model::family::PositionKind;
use crate::model::quant::Quant;
use crate::model::tensor::{Dtype, Tensor};
use crate::model::weights::{Linear, Norm, Pool};

/// Bytes handed to the queue before waiting for it: bytes under way are held in host memory.
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

/// Where a matrix, or the pool, lies.
pub enum Store {
    Buffer(wgpu::Buffer),
    /// A row of texels for each eight rows of the matrix: their first texels, their second ones,
    /// and so on. An invocation that computes eight outputs so reads one run of memory.
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

/// A normalisation's vectors, f32 `[weights, biases][n]`, where there are biases.
pub struct NormBuffer(pub wgpu::Buffer);

/// One parameter layer.
pub struct LayerBuffers {
    pub attn_norm: NormBuffer,
    /// Outputs as `shared/qkv_octet.wgsl` wants them: heads padded, rotary pairs side by side.
    pub qkv: Matrix,
    /// f32 `[query, key][head_stride]`, rotary pairs side by side: the norms of each head.
    pub qk_norm: Option<wgpu::Buffer>,
    pub o_proj: Matrix,
    pub mlp_norm: NormBuffer,
    /// The matrix of the MLP's inputs. With a gate its rows alternate: gate 0, up 0, gate 1, ...
    pub mlp_in: Matrix,
    pub mlp_out: Matrix,
}

/// All weights.
pub struct Weights {
    /// The class that suits both the adapter and the shapes.
    pub kernels: KernelClass,
    /// Lanes that these kernels count on sharing a subgroup.
    pub lanes: u32,
    pub embedding: Matrix,
    /// Learned positions, f32, rows padded to octets.
    pub positions: Option<wgpu::Buffer>,
    pub layers: Vec<LayerBuffers>,
    pub final_norm: NormBuffer,
    /// `None` where the embedding is the output matrix, too.
    pub lm_head: Option<Matrix>,
    /// f32 `[key, value][row][head][head_stride]`, keys' rotary pairs side by side; a placeholder
    /// without a pool.
    pub pool: Store,
}

/// How the outputs of stacked matrices follow each other on the device.
#[derive(Clone, Copy)]
enum Order {
    Stacked,
    /// Output 0 of each, then output 1 of each, ...
    Alternating,
    /// Heads padded to octets, of which the first `n_turned` have rotary pairs side by side.
    Heads {
        head_dim: usize,
        n_turned: usize,
    },
}

impl Order {
    /// Outputs on the device, of `n` in the checkpoint.
    fn n_out(self, n: usize) -> usize {
        match self {
            Order::Heads { head_dim, .. } => n / head_dim * padded(head_dim),
            _ => n,
        }
    }

    /// Which of the stacked outputs becomes output `i`; `None` for padding.
    fn source(self, linear: &Linear, i: usize) -> Option<usize> {
        match self {
            Order::Stacked => Some(i),
            Order::Alternating => {
                let n = linear.matrices.len();
                Some((i % n) * (linear.n_out() / n) + i / n)
            }
            Order::Heads { head_dim, n_turned } => {
                let (head, d) = (i / padded(head_dim), i % padded(head_dim));
                let source = match head < n_turned {
                    true => unpaired(d, head_dim),
                    false => d,
                };
                (d < head_dim).then_some(head * head_dim + source)
            }
        }
    }
}

/// The dimension of a head that becomes dimension `d` where rotary pairs are side by side: in
/// checkpoints, dimension `i` is paired with `i + head_dim / 2`.
fn unpaired(d: usize, head_dim: usize) -> usize {
    d / 2 + d % 2 * (head_dim / 2)
}

/// Where the values of matrices come from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Matrices {
    /// Matrices are read from the checkpoint.
    Stored,
    /// Matrices are random values that the device makes.
    Random,
}

/// Writes weights piece by piece, telling how far it is.
struct Uploader<'a> {
    gpu: &'a Gpu,
    kernels: KernelClass,
    matrices: Matrices,
    /// Random matrices made so far: each has a seed of its own.
    n_random: u32,
    staged: usize,
    done: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl Weights {
    /// Uploads the weights of `model`. `progress` gets the bytes written so far.
    pub async fn upload(
        gpu: &Gpu,
        model: &Model,
        matrices: Matrices,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self> {
        let reader = model.weights();
        let c = &model.config;
        let kernels = match gpu.kernels {
            KernelClass::Texture if !fits_textures(gpu, model) => KernelClass::Workgroup,
            class => class,
        };
        let mut uploader = Uploader {
            gpu,
            kernels,
            matrices,
            n_random: 0,
            staged: 0,
            done: 0,
            progress,
        };
        let outer = reader.outer()?;
        let alone = |tensor| Linear {
            matrices: vec![tensor],
            bias: None,
        };
        // Each is let go as soon as it is on the device.
        let embedding = {
            let matrix = alone(outer.embedding);
            uploader.matrix(&matrix, Order::Stacked).await?
        };
        let lm_head = match outer.lm_head.map(alone) {
            Some(matrix) => Some(uploader.matrix(&matrix, Order::Stacked).await?),
            None => None,
        };
        let heads = Order::Heads {
            head_dim: c.head_dim,
            n_turned: match c.position {
                PositionKind::Rope => c.n_heads + c.n_kv_heads,
                PositionKind::Learned => 0,
            },
        };
        let mut layers = Vec::with_capacity(c.n_layers);
        for i in 0..c.n_layers {
            let layer = reader.layer(i)?;
            layers.push(LayerBuffers {
                attn_norm: uploader.norm(&layer.attn_norm),
                qkv: uploader.matrix(&layer.qkv, heads).await?,
                qk_norm: layer.qk_norm.map(|[q, k]| {
                    let pair = |v: Vec<f32>| paired(&v, c.head_dim, true);
                    let weights = [pair(q.weight), pair(k.weight)].concat();
                    gpu.buffer_with("qk_norm", &weights, BufferUsages::STORAGE)
                }),
                o_proj: uploader.matrix(&layer.o_proj, Order::Stacked).await?,
                mlp_norm: uploader.norm(&layer.mlp_norm),
                mlp_in: uploader.matrix(&layer.mlp_in, Order::Alternating).await?,
                mlp_out: uploader.matrix(&layer.mlp_out, Order::Stacked).await?,
            });
        }
        let storage = BufferUsages::STORAGE;
        if let Some(tensor) = &outer.positions {
            let n_bytes = 4 * (tensor.n_rows() * padded(tensor.n_cols())) as u64;
            gpu.check_binding(&tensor.name, n_bytes, "")?;
        }
        let pool = pool_values(model.pool.as_ref(), c);
        gpu.check_binding("the zero-token pool", 4 * pool.len() as u64, "")?;
        let weights = Self {
            kernels,
            lanes: kernels.lanes(&gpu.info),
            embedding,
            positions: outer.positions.map(|tensor| {
                let rows = padded_rows(&tensor);
                gpu.buffer_with("positions", &rows, storage)
            }),
            layers,
            final_norm: uploader.norm(&outer.final_norm),
            lm_head,
            pool: match kernels {
                KernelClass::Texture => uploader.pool(&pool, model.pool.as_ref()),
                KernelClass::Subgroup | KernelClass::Workgroup => {
                    Store::Buffer(gpu.buffer_with("pool", &pool, storage))
                }
            },
        };
        gpu.wait().await?;
        model.checkpoint.check_unchanged()?;
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

/// Heads `[head][head_dim]` padded with zeros, rotary pairs side by side if `turned`.
fn paired(heads: &[f32], head_dim: usize, turned: bool) -> Vec<f32> {
    let value = |head: &[f32], d: usize| match (d < head_dim, turned) {
        (false, _) => 0.0,
        (true, true) => head[unpaired(d, head_dim)],
        (true, false) => head[d],
    };
    let stride = padded(head_dim);
    let heads = heads.chunks(head_dim);
    heads
        .flat_map(|head| (0..stride).map(move |d| value(head, d)))
        .collect()
}

/// Keys, then values (zeros where the pool has none).
fn pool_values(pool: Option<&Pool>, config: &Config) -> Vec<f32> {
    let Some(pool) = pool else { return Vec::new() };
    let has_rope = config.position == PositionKind::Rope;
    let mut out = paired(&pool.key, config.head_dim, has_rope);
    match &pool.value {
        Some(value) => out.extend(paired(value, config.head_dim, false)),
        None => out.resize(2 * out.len(), 0.0),
    }
    out
}

/// Whether the matrices can lie in textures, and the inputs read with them in uniform buffers.
fn fits_textures(gpu: &Gpu, model: &Model) -> bool {
    let c = &model.config;
    let widths = [c.hidden, c.q_dim(), c.intermediate];
    let is_wide = model.sizes_by_dtype().contains_key("F32");
    let plain = if is_wide { Dtype::F32 } else { Dtype::F16 };
    let limit = gpu.limits.max_texture_dimension_2d as usize;
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

impl Uploader<'_> {
    fn norm(&self, norm: &Norm) -> NormBuffer {
        let mut values = norm.weight.clone();
        values.resize(padded(norm.weight.len()), 0.0);
        values.extend(norm.bias.iter().flatten());
        values.resize(padded(values.len()), 0.0);
        // It may be bound as a uniform buffer, which has a fixed length.
        values.resize(values.len().max(UNIFORM_BYTES as usize / 4), 0.0);
        let usage = BufferUsages::STORAGE | BufferUsages::UNIFORM;
        NormBuffer(self.gpu.buffer_with("norm", &values, usage))
    }

    async fn matrix(&mut self, linear: &Linear<'_>, order: Order) -> Result<Matrix> {
        let (n_out, n_in) = (order.n_out(linear.n_out()), linear.n_in());
        let dtype = linear.dtype();
        let row_bytes = buffer_row_bytes(dtype, n_in);
        let in_texture = self.kernels == KernelClass::Texture;
        let limit = match in_texture {
            true => self.gpu.limits.max_texture_dimension_2d as usize * TEXTURE_ROWS,
            false => self.gpu.binding_limit() as usize / row_bytes,
        };
        // Whole groups of the outputs that one invocation computes.
        let rows_a_part = (limit / OCTET * OCTET).max(OCTET).min(n_out);
        let row_of = |i: usize| order.source(linear, i).map(|i| locate(linear, i));
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
                Matrices::Stored => self.rows(&store, rows, dtype, n_in, row_of).await?,
                Matrices::Random => {
                    self.random(&store, rows, dtype, n_in);
                    self.gpu.queue.submit([]);
                    self.gpu.wait().await?;
                }
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
        let limit = self.gpu.limits.max_texture_dimension_2d;
        let size = texture_size([width, n_rows.div_ceil(TEXTURE_ROWS)], limit);
        let copied = wgpu::TextureUsages::COPY_DST | wgpu::TextureUsages::COPY_SRC;
        let usage = wgpu::TextureUsages::STORAGE_BINDING | copied;
        let format = wgpu::TextureFormat::Rgba32Uint;
        let texture = self.gpu.texture(name, size, format, usage);
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        Store::Texture(texture, view)
    }

    /// The pool's values as a texture of f32, a row of texels for each key or value.
    fn pool(&self, values: &[f32], pool: Option<&Pool>) -> Store {
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
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        Store::Texture(texture, view)
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

    /// Fills a whole store with random values. A texture belongs to a software adapter, which runs
    /// on the host: its values are made here.
    fn random(&mut self, store: &Store, rows: std::ops::Range<usize>, dtype: Dtype, n_in: usize) {
        self.n_random += 1;
        let random = RandomWeights {
            dtype,
            n_in,
            n_rows: rows.len(),
            seed: self.n_random,
        };
        match store {
            Store::Buffer(buffer) => random.fill(self.gpu, buffer),
            Store::Texture(..) => self.write(store, 0, dtype, n_in, random.rows()),
        }
        self.done += (rows.len() * row_bytes(dtype, n_in)) as u64;
        (self.progress)(self.done);
    }

    /// Writes rows of `n_in` values into `store`, each padded with zeros.
    async fn rows<'t>(
        &mut self,
        store: &Store,
        rows: std::ops::Range<usize>,
        dtype: Dtype,
        n_in: usize,
        row_of: impl Fn(usize) -> Option<(&'t Tensor<'t>, usize)>,
    ) -> Result<()> {
        let row_bytes = row_bytes(dtype, n_in);
        let rows_a_piece = (STAGED_BYTES / 4 / row_bytes).max(1);
        let rows_a_piece = rows_a_piece.next_multiple_of(TEXTURE_ROWS);
        for first in rows.clone().step_by(rows_a_piece) {
            let n_rows = rows_a_piece.min(rows.end - first);
            let mut piece = vec![0u8; n_rows * row_bytes];
            for (i, out) in piece.chunks_mut(row_bytes).enumerate() {
                let Some((tensor, row)) = row_of(first + i) else {
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
            self.staged += piece.len();
            self.done += piece.len() as u64;
            self.write(store, first - rows.start, dtype, n_in, piece);
            (self.progress)(self.done);
            if self.staged >= STAGED_BYTES {
                self.gpu.queue.submit([]);
                self.gpu.wait().await?;
                self.staged = 0;
            }
        }
        Ok(())
    }
}

/// The matrix that has stacked output `i`, and its row in it.
fn locate<'a>(linear: &'a Linear<'a>, i: usize) -> (&'a Tensor<'a>, usize) {
    let mut row = i;
    for matrix in &linear.matrices {
        if row < matrix.n_rows() {
            return (matrix, row);
        }
        row -= matrix.n_rows();
    }
    unreachable!("row {i} of {}", linear.n_out())
}
