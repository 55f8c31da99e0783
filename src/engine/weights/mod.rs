//! The model's weights on the device.

pub mod device_model;
mod matrix;
mod order;
pub mod random;
mod upload;

pub use matrix::{Matrix, NormBuffer};
pub use upload::Matrices;

use wgpu::BufferUsages;

use super::memory::layout::padded;
use crate::error::Result;
use crate::gpu::{Gpu, Store, Target};
use crate::model::Model;
use crate::model::config::Config;
use crate::model::family::PositionKind;
use crate::model::tensor::Tensor;
use crate::model::weights::{Linear, Pool};
use order::{Order, paired};
use upload::{Uploader, fits_textures};

/// One parameter layer.
pub struct LayerBuffers {
    pub attn_norm: NormBuffer,
    /// Outputs as `shared/qkv.wgsl` wants them: heads padded, rotary pairs side by side.
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
    /// What suits both the adapter and the shapes.
    pub target: Target,
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
        let target = match fits_textures(&gpu.target, model) {
            true => gpu.target.clone(),
            false => gpu.target.without_textures(),
        };
        let mut uploader = Uploader::new(gpu, &target, matrices, progress);
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
        let final_norm = uploader.norm(&outer.final_norm);
        let pool = uploader.pool(&pool, model.pool.as_ref());
        let weights = Self {
            target,
            embedding,
            positions: outer.positions.map(|tensor| {
                let rows = padded_rows(&tensor);
                gpu.buffer_with("positions", &rows, storage)
            }),
            layers,
            final_norm,
            lm_head,
            pool,
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
