//! Matrices and norms on the device.

use std::collections::BTreeMap;

use crate::gpu::Store;
use crate::model::role::Role;
use crate::model::tensor::Dtype;

/// The weights of a parameter layer, or those outside of all layers, by role. Each has the roles
/// that its model has, and no others.
pub struct RoleBuffers {
    /// Queries, keys and values as `shared/qkv.wgsl` wants them: heads padded, rotary pairs side by
    /// side. Of the MLP's inputs with a gate, rows alternate: gate 0, up 0, gate 1, ...
    pub matrices: BTreeMap<Role, Matrix>,
    /// The exit gate, too, which is a vector with a bias.
    pub norms: BTreeMap<Role, NormBuffer>,
    /// The norms of queries and keys; see
    /// [`QkNormWeights`](crate::kernels::qkv_store::QkNormWeights).
    pub qk_norm: Option<wgpu::Buffer>,
}

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
    /// In a texture, a row of texels for each eight rows of the matrix: their first texels, their
    /// second ones, and so on. An invocation that computes eight outputs so reads one run of
    /// memory.
    pub store: Store,
    pub first_row: u32,
    pub n_rows: u32,
}

/// A normalisation's vectors, f32 `[weights, biases][n]`, where there are biases.
pub struct NormBuffer(pub wgpu::Buffer);
