//! The tiles that a target gets, for people who look at an adapter.

use super::attention::Tile as AttentionTile;
use super::linear::{self, Tile as LinearTile};
use super::{BatchKind, Heads};
use crate::gpu::Target;

/// A model of a billion parameters: octets of a row, heads, positions.
const OCTETS: u32 = 2048 / 8;
const HEADS: Heads = Heads {
    n_heads: 32,
    n_kv_heads: 8,
    octets: 8,
};
const N_CTX: u32 = 4096;

/// Kernels and their tiles for one row and for many, at the shapes of a model of a billion
/// parameters: 2,048 inputs, 32 heads of 64 over 8 KV heads, 4,096 positions.
pub fn of_a_billion(target: &Target) -> Vec<(&'static str, String)> {
    let kinds = [BatchKind::OneRow, BatchKind::OneSequence];
    let linear = kinds.map(|kind| {
        let tile = LinearTile::of(target, kind, OCTETS, 8 * OCTETS);
        (linear::kernel(target, kind).name, tile.to_string())
    });
    let attention = kinds.map(|kind| {
        let tile = AttentionTile::of(target, kind, HEADS, N_CTX);
        (tile.kernel().name, tile.to_string())
    });
    let mut tiles = linear.to_vec();
    // In textures attention has one tile for every shape.
    if !target.uses_textures() {
        tiles.extend(attention);
        // One kernel may serve both.
        tiles.dedup();
    }
    tiles
}
