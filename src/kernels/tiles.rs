//! The tiles that a target gets, for people who look at an adapter.

use super::attention::Tile as AttentionTile;
use super::linear::{self, Tile as LinearTile};
use super::{BatchKind, Heads};
use crate::gpu::Target;
use crate::model::tensor::Dtype;

/// A model of a billion parameters: octets of a row, heads, positions.
const OCTETS: u32 = 2048 / 8;
const HEADS: Heads = Heads {
    n_heads: 32,
    n_kv_heads: 8,
    octets: 8,
};
const N_CTX: u32 = 4096;

/// The tile of a kernel for a batch.
pub struct Described {
    pub kernel: &'static str,
    /// `one row`, `few rows` or `many rows`: a kernel may serve several, with a tile for each.
    pub batch: &'static str,
    pub tile: String,
}

/// Kernels and their tiles for one row, for few and for many, in f16 and at the shapes of a model of a billion
/// parameters: 2,048 inputs, 32 heads of 64 over 8 KV heads, 4,096 positions.
pub fn of_a_billion(target: &Target) -> Vec<Described> {
    let mut tiles = Vec::new();
    for (batch, n_rows) in [("one row", 1), ("few rows", 4), ("many rows", 512)] {
        let kind = BatchKind::of(target, n_rows, true);
        if batch == "few rows" && !kind.is_few() {
            continue;
        }
        tiles.push(Described {
            kernel: linear::kernel(target, kind).name,
            batch,
            tile: LinearTile::of(target, kind, Dtype::F16, OCTETS, 8 * OCTETS).to_string(),
        });
        // In textures attention has one tile for every shape.
        if !target.uses_textures() {
            let tile = AttentionTile::of(target, kind, HEADS, N_CTX);
            tiles.push(Described {
                kernel: tile.kernel().name,
                batch,
                tile: tile.to_string(),
            });
        }
    }
    tiles
}
