//! How much of a model is of which type.

use std::collections::BTreeMap;

use super::Model;
use super::quant::BLOCK;

/// More layers, stored or run, are a mistake in the file, not a model.
pub(super) const MAX_LAYERS: usize = 65_536;

/// The size of all tensors of one type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    pub bytes: u64,
    pub elements: u64,
}

impl Model {
    /// The size of the tensors of each type, the types by their names: as stored, but for matrices
    /// that are quantised on the way, and without a stored copy of the embedding.
    pub fn sizes_by_dtype(&self) -> BTreeMap<String, Size> {
        let mut sizes: BTreeMap<String, Size> = BTreeMap::new();
        let copy = self.weights().copied_head();
        let infos = self.checkpoint.infos();
        for (name, info) in infos.filter(|(name, _)| copy.as_deref() != Some(name)) {
            let n_bytes = info.data_offsets.1 - info.data_offsets.0;
            let n_elements = info.shape.iter().product::<usize>();
            let quant = self.quantized.get(name);
            let (dtype, bytes, elements) = match (quant, self.config.quant) {
                (None, _) => (info.dtype.to_string(), n_bytes, n_elements),
                (Some(quant), Some(_)) => {
                    let n_blocks = n_bytes / quant.block_bytes();
                    (quant.name().to_uppercase(), n_bytes, BLOCK * n_blocks)
                }
                (Some(quant), None) => {
                    let n_bytes = quant.n_bytes(n_elements);
                    (quant.name().to_uppercase(), n_bytes, n_elements)
                }
            };
            let size = sizes.entry(dtype).or_default();
            size.bytes += bytes as u64;
            size.elements += elements as u64;
        }
        sizes
    }

    /// Bytes of all weights.
    pub fn weight_bytes(&self) -> u64 {
        self.sizes_by_dtype().values().map(|size| size.bytes).sum()
    }

    /// Elements of all weights.
    pub fn n_parameters(&self) -> u64 {
        let sizes = self.sizes_by_dtype();
        sizes.values().map(|size| size.elements).sum()
    }
}
