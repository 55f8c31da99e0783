//! The buffers of a session on the device besides weights: activations, KV caches, lists of rows.

use wgpu::BufferUsages;

use super::activations;
use super::kv_cache::KvCache;
use super::layout::padded;
use super::rows::Lists;
use super::sizes::{LESS_CONTEXT, Sizes};
use crate::error::Result;
use crate::gpu::{Gpu, Resource, Store, Target, UNIFORM_BYTES};
use crate::model::config::{Config, Rope};
use crate::rope::RopeTable;
use crate::schedule::Walk;

/// The buffers. Rows are padded to octets unless the name says otherwise.
pub struct Buffers {
    pub sizes: Sizes,
    pub lists: Lists,
    /// u32 `[row]`
    pub ids: wgpu::Buffer,
    pub rows: wgpu::Buffer,
    /// The residual stream, f32 `[row][hidden]`.
    pub x: wgpu::Buffer,
    /// The residual stream normed, f32 `[row][hidden]`.
    pub normed: wgpu::Buffer,
    /// A branch before it is added to the residual stream, f32 `[row][hidden]`, where blocks norm
    /// or multiply it; a placeholder for others.
    pub branch: wgpu::Buffer,
    /// f32 `[row][head][head_stride]` of queries, keys and values, where blocks norm them before
    /// they go on, or the cache takes whole heads; a placeholder for others.
    pub qkv: wgpu::Buffer,
    /// Position-encoded queries, f32 `[row][head][head_stride]`.
    pub q: Store,
    /// Attention's outputs, f32 `[row][n_heads * head_dim]`.
    pub heads: wgpu::Buffer,
    /// f32 `[row][intermediate]`
    pub mlp: wgpu::Buffer,
    /// f32 `[output row][vocab]`.
    pub logits: wgpu::Buffer,
    /// Zero attention, f32 `[row][middle layer][head]`.
    pub zeros: wgpu::Buffer,
    /// What the kernels of attention hand each other; see [`activations::attention`].
    pub attention: Store,
    /// Input rows of a linear map, gathered; see [`activations::packed`].
    packed: Option<Store>,
    /// f32 `[row][cycles run, score of each cycle]`.
    pub progress: wgpu::Buffer,
    /// The KV cache of each parameter layer.
    pub kv: Vec<KvCache>,
    /// Of each rotary embedding, f32 `[position][4 head_octets][cos, sin]`.
    pub rope_angles: Vec<wgpu::Buffer>,
}

impl Buffers {
    /// The gathered input rows of a linear map as kernels bind them.
    pub fn packed(&self) -> Resource<'_> {
        self.packed
            .as_ref()
            .map_or(Resource::Unused, Store::resource)
    }

    /// Buffers that kernels read besides weights and lists.
    pub fn activations(&self) -> impl Iterator<Item = &wgpu::Buffer> {
        let rows = [
            &self.x,
            &self.normed,
            &self.branch,
            &self.qkv,
            &self.heads,
            &self.mlp,
            &self.zeros,
            &self.logits,
        ];
        let caches = self.kv.iter().filter_map(KvCache::buffer);
        rows.into_iter().chain(self.q.buffer()).chain(caches)
    }

    /// Refuses sizes that are beyond the limits of the adapter, be there memory for them or not.
    ///
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge) with the first thing that does not fit.
    pub fn check(
        gpu: &Gpu,
        target: &Target,
        config: &Config,
        n_cycles: usize,
        sizes: Sizes,
    ) -> Result<()> {
        let n_bytes = angle_bytes(config, sizes);
        for _ in &config.ropes {
            gpu.check_binding("the table of rotary angles", n_bytes, LESS_CONTEXT)?;
        }
        if target.uses_textures() {
            activations::check_scores(gpu, config, sizes)?;
        }
        (0..config.n_layers)
            .try_for_each(|layer| KvCache::check(gpu, target, config, layer, n_cycles, sizes))
    }

    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge) when a cache would not fit one binding once
    /// sequences have room for all of their positions.
    pub fn new(
        gpu: &Gpu,
        target: &Target,
        config: &Config,
        walk: &Walk,
        sizes: Sizes,
    ) -> Result<Self> {
        let n_cycles = walk.n_cycles;
        let lists = Lists::of(sizes.n_rows);
        let f32s = |label: &str, rows: usize, width: usize| {
            gpu.storage(
                label,
                4u64.saturating_mul(rows as u64)
                    .saturating_mul(width as u64),
            )
        };
        let rows = |label: &str, width: usize| f32s(label, sizes.n_rows, width);
        // The input of a linear map may be bound as a uniform buffer, which has a fixed length.
        let inputs = |label: &str, width: usize| {
            let n_bytes = 4u64.saturating_mul(sizes.n_rows as u64) * width as u64;
            let copy = BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
            let usage = BufferUsages::STORAGE | BufferUsages::UNIFORM | copy;
            gpu.buffer(label, n_bytes.max(UNIFORM_BYTES), usage)
        };
        let n_pairs = padded(config.head_dim) / 2;
        Self::check(gpu, target, config, n_cycles, sizes.whole())?;
        let mut kv = Vec::with_capacity(config.n_layers);
        for layer in 0..config.n_layers {
            kv.push(KvCache::new(gpu, target, config, layer, n_cycles, sizes)?);
        }
        let angles = |rope: &Rope| {
            let angles = RopeTable::new(rope).to_f32(sizes.n_ctx, n_pairs);
            gpu.buffer_with("rope_angles", &angles, BufferUsages::STORAGE)
        };
        // Only these blocks and caches keep what is projected.
        let mut attentions = config.blocks.iter().map(|block| &block.attention);
        let has_norm = attentions.any(|attention| attention.qk_norm.is_some());
        let qkv_width = match has_norm || sizes.kv_type.takes_whole_heads() {
            true => (config.n_heads + 2 * config.n_kv_heads) * padded(config.head_dim),
            false => 0,
        };
        let branch_width = match activations::has_branch_apart(config) {
            true => padded(config.hidden),
            false => 0,
        };
        let logits_bytes = 4 * (sizes.n_outputs * padded(config.vocab)) as u64;
        let progress_bytes = 4 * (sizes.n_rows * (1 + n_cycles)) as u64;
        Ok(Self {
            sizes,
            lists,
            ids: rows("ids", 1),
            rows: gpu.storage("rows", 4 * lists.n_values(n_cycles)),
            x: inputs("x", padded(config.hidden)),
            normed: inputs("normed", padded(config.hidden)),
            branch: rows("branch", branch_width),
            qkv: rows("qkv", qkv_width),
            q: activations::queries(gpu, target, config, sizes)?,
            heads: inputs("heads", padded(config.q_dim())),
            mlp: inputs("mlp", padded(config.intermediate)),
            attention: activations::attention(gpu, target, config, sizes)?,
            packed: activations::packed(gpu, target, config, sizes)?,
            logits: gpu.storage("logits", logits_bytes),
            zeros: rows("zeros", config.middle_layers() * config.n_heads),
            progress: gpu.storage("progress", progress_bytes),
            kv,
            rope_angles: config.ropes.iter().map(angles).collect(),
        })
    }
}

/// Bytes of a table of rotary angles, for all positions of a sequence.
pub fn angle_bytes(config: &Config, sizes: Sizes) -> u64 {
    let n_pairs = padded(config.head_dim) as u64 / 2;
    (8 * n_pairs).saturating_mul(sizes.n_ctx as u64)
}
