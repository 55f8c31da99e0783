//! Matrices and norms on the device.

use crate::gpu::Store;
use crate::model::tensor::Dtype;

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
