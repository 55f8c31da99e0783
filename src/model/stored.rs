//! Tensors on their way into a file, without all of them being in memory.

use safetensors::tensor::{Dtype, TensorInfo};

use super::shard::Shard;
use super::tensor::{Bytes, Tensor};
use crate::error::Result;

/// Bytes that are read and written at a time.
const PIECE_BYTES: usize = 8 << 20;

/// A tensor as it is to be written.
pub struct StoredTensor<'a> {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    data: Data<'a>,
}

enum Data<'a> {
    InShard(&'a Shard, TensorInfo),
    InMemory(Bytes<'a>),
}

impl<'a> StoredTensor<'a> {
    /// One that lies in a file.
    pub(super) fn in_shard(name: &str, shard: &'a Shard, info: &TensorInfo) -> Self {
        Self {
            name: name.to_string(),
            dtype: info.dtype,
            shape: info.shape.clone(),
            data: Data::InShard(shard, info.clone()),
        }
    }

    /// The rows of blocks of a quantised matrix.
    pub fn of_blocks(tensor: Tensor<'a>) -> Self {
        Self {
            dtype: Dtype::U8,
            shape: vec![tensor.n_rows(), tensor.dtype.n_bytes(tensor.n_cols())],
            name: tensor.name,
            data: Data::InMemory(tensor.bytes),
        }
    }

    pub fn n_bytes(&self) -> usize {
        match &self.data {
            Data::InShard(_, info) => info.data_offsets.1 - info.data_offsets.0,
            Data::InMemory(bytes) => bytes.len(),
        }
    }

    /// Writes all bytes, with `write` for each piece of them.
    pub(super) fn write(&self, mut write: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        match &self.data {
            Data::InMemory(bytes) => write(bytes),
            Data::InShard(shard, info) => (0..self.n_bytes())
                .step_by(PIECE_BYTES)
                .try_for_each(|start| write(&shard.piece(info, start, PIECE_BYTES)?)),
        }
    }
}
