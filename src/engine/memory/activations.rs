//! Activations that lie where the target's kernels read them: in a buffer or in a texture.

use super::layout::{OCTET, padded, texture_size};
use super::sizes::{LESS_CONTEXT, Sizes};
use crate::error::Result;
use crate::gpu::{Gpu, Store, Target};
use crate::kernels::attention::Tile;
use crate::kernels::pack_rows::{PACKED_TILE, packed_width};
use crate::kernels::{BatchKind, Heads};
use crate::model::block::{Block, BranchNorms, PostNorm};
use crate::model::config::Config;

/// The name of the table of attention scores in errors.
const SCORES: &str = "the table of attention scores";

/// Position-encoded queries, f32 `[row][head][head_stride]`.
pub fn queries(gpu: &Gpu, target: &Target, config: &Config, sizes: Sizes) -> Result<Store> {
    let width = config.n_heads * padded(config.head_dim);
    if target.uses_textures() {
        return texture(gpu, "the table of queries", width, sizes.n_rows);
    }
    let n_bytes = 4u64.saturating_mul((sizes.n_rows * width) as u64);
    Ok(Store::Buffer(gpu.storage("q", n_bytes)))
}

/// Input rows of a linear map, f32 `[listed row][widest input]`, where the kernels of many rows
/// want them in a texture.
pub fn packed(gpu: &Gpu, target: &Target, config: &Config, sizes: Sizes) -> Result<Option<Store>> {
    if !target.uses_textures() {
        return Ok(None);
    }
    let widest = config.hidden.max(config.q_dim()).max(config.intermediate);
    let height = sizes.n_rows.next_multiple_of(PACKED_TILE);
    let label = "the table of packed activations";
    texture(gpu, label, packed_width(padded(widest)), height).map(Some)
}

/// What the kernels of attention hand each other: scores, f32 `[listed row, head][key]`, in a
/// texture for as many keys as there is room for, or the parts of split keys (`part_of` in
/// `shaders/shared/attention.wgsl`) in a buffer, the splits of a full cache.
pub fn attention(gpu: &Gpu, target: &Target, config: &Config, sizes: Sizes) -> Result<Store> {
    if target.uses_textures() {
        check_scores(gpu, config, sizes)?;
        let [n_keys, height] = scores_size(config, sizes);
        // No side is a power of two, however long the text is; see `texture_size`.
        let limit = gpu.target.limits.max_texture_dimension_2d;
        let size = texture_size([n_keys / 4, height], limit);
        return Ok(float_texture(gpu, SCORES, size));
    }
    let heads = heads(config);
    let tile = Tile::of(target, BatchKind::OneRow, heads, sizes.n_ctx as u32);
    let n_rows = sizes.n_rows.min(target.few_rows());
    let n_bytes = tile.parts_bytes(heads, n_rows as u64);
    Ok(Store::Buffer(gpu.storage("parts", n_bytes)))
}

/// Refuses scores that are longer than a row of texels.
pub fn check_scores(gpu: &Gpu, config: &Config, sizes: Sizes) -> Result<()> {
    let [n_keys, height] = scores_size(config, sizes);
    gpu.check_texture(SCORES, [n_keys / 4, height, 1], LESS_CONTEXT)
}

/// Scores in a row of their texture, and rows.
fn scores_size(config: &Config, sizes: Sizes) -> [usize; 2] {
    let n_keys = sizes.room.next_multiple_of(OCTET);
    [n_keys, sizes.n_rows * config.n_heads]
}

/// Whether a branch of `block`, which has these norms, is written apart before it is added to the
/// residual stream.
pub fn is_apart(block: &Block, norms: BranchNorms) -> bool {
    norms.post != PostNorm::None || block.residual_multiplier != 1.0
}

/// Whether any branch of a model is.
pub fn has_branch_apart(config: &Config) -> bool {
    let is_so = |block: &Block| {
        let norms = [block.attention_norms, block.mlp_norms];
        norms.into_iter().any(|norms| is_apart(block, norms))
    };
    config.blocks.iter().any(is_so)
}

/// The heads of every attention of a model.
pub fn heads(config: &Config) -> Heads {
    Heads {
        n_heads: config.n_heads as u32,
        n_kv_heads: config.n_kv_heads as u32,
        octets: (padded(config.head_dim) / OCTET) as u32,
    }
}

/// A texture of `height` rows of `width` f32.
fn texture(gpu: &Gpu, label: &'static str, width: usize, height: usize) -> Result<Store> {
    let size = [width / 4, height];
    gpu.check_texture(label, [size[0], size[1], 1], LESS_CONTEXT)?;
    Ok(float_texture(gpu, label, size.map(|n| n as u32)))
}

fn float_texture(gpu: &Gpu, label: &'static str, size: [u32; 2]) -> Store {
    let usage = wgpu::TextureUsages::STORAGE_BINDING;
    let format = wgpu::TextureFormat::Rgba32Float;
    gpu.texture(label, size, format, usage).into()
}
