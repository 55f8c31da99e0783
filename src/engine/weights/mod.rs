//! The model's weights on the device.

pub mod device_model;
mod matrix;
mod order;
mod pieces;
pub mod random;
mod upload;

pub use matrix::{Matrix, NormBuffer, RoleBuffers};
pub use upload::Matrices;

use wgpu::BufferUsages;

use super::memory::layout::padded;
use crate::error::Result;
use crate::gpu::{Gpu, Store, Target};
use crate::model::Model;
use crate::model::config::Config;
use crate::model::role::Role;
use crate::model::tensor::Tensor;
use crate::model::weights::{Linear, Norm, Pool, Reader};
use order::paired;
use upload::{Uploader, fits_textures};

/// All weights.
pub struct Weights {
    /// What suits both the adapter and the shapes.
    pub target: Target,
    /// Embedding, final norm, and output projection, where that is not the embedding.
    pub outer: RoleBuffers,
    /// Learned positions, f32, rows padded to octets.
    pub positions: Option<wgpu::Buffer>,
    pub layers: Vec<RoleBuffers>,
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
        let reader = model.weights().unread();
        let c = &model.config;
        let target = target_of(gpu, model);
        let mut uploader = Uploader::new(gpu, &target, &reader, matrices, progress);
        let mut outer = reader.outer()?;
        let positions = outer.linears.remove(&Role::Positions);
        let gate = outer.linears.remove(&Role::ExitGate);
        let gate = gate.map(|gate| vector(&reader, gate)).transpose()?;
        let mut outer = uploader.by_role(outer, c, 0).await?;
        let gate = gate.map(|gate| (Role::ExitGate, uploader.norm(&gate)));
        outer.norms.extend(gate);
        let mut layers = Vec::with_capacity(c.n_layers);
        for i in 0..c.n_layers {
            layers.push(uploader.by_role(reader.layer(i)?, c, i).await?);
        }
        let positions = match positions {
            Some(linear) => {
                let matrix = &linear.matrices[0];
                let rows = reader.rows(matrix, 0..matrix.n_rows())?;
                Some(learned_positions(gpu, &rows)?)
            }
            None => None,
        };
        let pool = pool_values(model.pool.as_ref(), c);
        gpu.check_binding("the zero-token pool", 4 * pool.len() as u64, "")?;
        let pool = uploader.pool(&pool, model.pool.as_ref());
        let weights = Self {
            target,
            outer,
            positions,
            layers,
            pool,
        };
        gpu.wait().await?;
        model.checkpoint.check_unchanged()?;
        Ok(weights)
    }
}

/// What kernels of `model` are written for on this adapter.
pub fn target_of(gpu: &Gpu, model: &Model) -> Target {
    match fits_textures(&gpu.target, model) {
        true => gpu.target.clone(),
        false => gpu.target.without_textures(),
    }
}

/// A row for each position.
fn learned_positions(gpu: &Gpu, tensor: &Tensor) -> Result<wgpu::Buffer> {
    let n_bytes = 4 * (tensor.n_rows() * padded(tensor.n_cols())) as u64;
    gpu.check_binding(&tensor.name, n_bytes, "")?;
    let rows = padded_rows(tensor);
    Ok(gpu.buffer_with("positions", &rows, BufferUsages::STORAGE))
}

/// A linear map of one output as norms are kept: in f32, weights and bias.
fn vector(reader: &Reader, linear: Linear) -> Result<Norm> {
    Ok(Norm {
        weight: reader.rows(&linear.matrices[0], 0..1)?.to_f32(),
        bias: linear.bias,
    })
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
    let mut out = paired(&pool.key, config.head_dim, config.rotary_dim());
    match &pool.value {
        Some(value) => out.extend(paired(value, config.head_dim, 0)),
        None => out.resize(2 * out.len(), 0.0),
    }
    out
}
