//! What a session keeps on the device besides weights: activations, caches, lists of rows.

use wgpu::BufferUsages;

use super::weights::padded;
use crate::error::Result;
use crate::gpu::{Gpu, KernelClass};
use crate::kernels::attention::Tiling;
use crate::kernels::pack_rows::PACKED_TILE;
use crate::kernels::{KvType, UNIFORM_BYTES};
use crate::model::config::Config;
use crate::rope::RopeTable;
use crate::schedule::Schedule;

/// Sizes of a session.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Positions in the cache.
    pub n_ctx: usize,
    /// Rows that one submission computes at most.
    pub n_rows: usize,
    /// Rows of those that get logits, at most.
    pub n_outputs: usize,
    pub kv_type: KvType,
}

/// Where the lists lie in the `rows` buffer; see `shaders/shared/rows.wgsl`.
#[derive(Clone, Copy, Debug)]
pub struct Lists {
    n_rows: u32,
}

impl Lists {
    fn at(self, i: u32) -> u32 {
        self.n_rows + i * (1 + self.n_rows)
    }

    /// Every row of the batch.
    pub fn all(self) -> u32 {
        self.at(0)
    }

    /// Rows that get logits.
    pub fn outputs(self) -> u32 {
        self.at(1)
    }

    /// 0, 1, 2 ... for as many rows as get logits.
    pub fn dense(self) -> u32 {
        self.at(2)
    }

    /// Rows that go on after cycle `cycle`.
    pub fn staying(self, cycle: usize) -> u32 {
        self.at(3 + 2 * cycle as u32)
    }

    /// Rows that leave after cycle `cycle`.
    pub fn leaving(self, cycle: usize) -> u32 {
        self.at(4 + 2 * cycle as u32)
    }

    /// Values of the whole buffer.
    fn n_values(self, n_cycles: usize) -> u64 {
        u64::from(self.at(3 + 2 * n_cycles as u32))
    }

    /// The whole buffer with every row in every list, positions from `first_position` on; the
    /// last row alone gets logits.
    pub fn every_list(self, first_position: usize, n_rows: usize, n_cycles: usize) -> Vec<u32> {
        let mut values = self.host_part(first_position, n_rows, &[n_rows as u32 - 1]);
        for _ in 0..2 * n_cycles {
            values.push(n_rows as u32);
            values.extend(0..self.n_rows);
        }
        values
    }

    /// What the host writes for a batch: positions, and the first three lists.
    pub fn host_part(self, first_position: usize, n_rows: usize, outputs: &[u32]) -> Vec<u32> {
        let mut values = vec![0; self.at(3) as usize];
        for (row, position) in values[..n_rows].iter_mut().enumerate() {
            *position = (first_position + row) as u32;
        }
        let mut put = |list: u32, rows: &mut dyn Iterator<Item = u32>| {
            let at = list as usize;
            for row in rows {
                values[at] += 1;
                let i = at + values[at] as usize;
                values[i] = row;
            }
        };
        put(self.all(), &mut (0..n_rows as u32));
        put(self.outputs(), &mut outputs.iter().copied());
        put(self.dense(), &mut (0..outputs.len() as u32));
        values
    }
}

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
    /// f32 `[row][queries, keys, values]`
    pub qkv: wgpu::Buffer,
    /// Position-encoded queries, f32 `[row][head][head_stride]`.
    pub q: wgpu::Buffer,
    /// Attention's outputs, f32 `[row][n_heads * head_dim]`.
    pub heads: wgpu::Buffer,
    /// f32 `[row][intermediate]`
    pub mlp: wgpu::Buffer,
    /// f32 `[output row][vocab]`, not padded.
    pub logits: wgpu::Buffer,
    /// Zero attention, f32 `[row][middle layer][part]`.
    pub partials: wgpu::Buffer,
    /// f32 `[row][cycles run, score of each cycle]`.
    pub progress: wgpu::Buffer,
    /// The cache of each parameter layer; see `shaders/shared/kv_cache.wgsl`.
    pub kv: Vec<wgpu::Buffer>,
    /// f32 `[position][pair][cos, sin]`; a placeholder without rotary embedding.
    pub rope_angles: wgpu::Buffer,
    /// Rows of activations as a texture, f32 `[listed row][widest input]`.
    pub packed: wgpu::TextureView,
    /// For bindings that a model does not use.
    pub nothing: wgpu::Buffer,
    /// Where the host reads logits and progress from.
    pub staging: wgpu::Buffer,
}

/// Bytes of the cache of parameter layer `layer`.
pub fn kv_bytes(config: &Config, layer: usize, n_cycles: usize, n_ctx: usize, kv: KvType) -> u64 {
    let middle = config.head_layers()..config.head_layers() + config.middle_layers();
    let cycles = if middle.contains(&layer) { n_cycles } else { 1 };
    let factors = [
        2,
        cycles,
        config.n_kv_heads,
        n_ctx,
        padded(config.head_dim),
        kv.n_bytes(),
    ];
    // Absurd sizes stay large instead of wrapping round: no adapter takes them.
    factors
        .iter()
        .fold(1, |product: u64, &n| product.saturating_mul(n as u64))
}

/// The texture that rows are packed into.
fn packed(gpu: &Gpu, config: &Config, n_rows: usize) -> wgpu::TextureView {
    let widest = config.hidden.max(config.q_dim()).max(config.intermediate);
    let limit = gpu.limits.max_texture_dimension_2d;
    let size = match gpu.kernels {
        KernelClass::Texture => [
            ((padded(widest) / 4) as u32).min(limit),
            n_rows.next_multiple_of(PACKED_TILE) as u32,
        ],
        KernelClass::Workgroup => [1, 1],
    };
    let usage = wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::STORAGE_BINDING;
    let format = wgpu::TextureFormat::Rgba32Float;
    let texture = gpu.texture("packed", size, format, usage);
    texture.create_view(&wgpu::TextureViewDescriptor::default())
}

impl Buffers {
    /// What kernels read besides weights and lists.
    pub fn activations(&self) -> impl Iterator<Item = &wgpu::Buffer> {
        let rows = [
            &self.x,
            &self.normed,
            &self.qkv,
            &self.q,
            &self.heads,
            &self.mlp,
            &self.partials,
        ];
        rows.into_iter().chain(&self.kv)
    }

    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge) when a cache does not fit one binding.
    pub fn new(gpu: &Gpu, config: &Config, schedule: &Schedule, sizes: Sizes) -> Result<Self> {
        let n_cycles = schedule.n_cycles();
        let lists = Lists {
            n_rows: sizes.n_rows as u32,
        };
        let tiling = Tiling::new(config.n_heads as u32, config.n_kv_heads as u32, true);
        let partials = config.middle_layers() * tiling.n_parts as usize;
        let f32s = |label: &str, rows: usize, width: usize| {
            gpu.storage(
                label,
                4u64.saturating_mul(rows as u64)
                    .saturating_mul(width as u64),
            )
        };
        let rows = |label: &str, width: usize| f32s(label, sizes.n_rows, width);
        // What a linear map reads may be bound as a uniform buffer, which has a fixed length.
        let inputs = |label: &str, width: usize| {
            let n_bytes = 4u64.saturating_mul(sizes.n_rows as u64) * width as u64;
            let copy = BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
            let usage = BufferUsages::STORAGE | BufferUsages::UNIFORM | copy;
            gpu.buffer(label, n_bytes.max(UNIFORM_BYTES), usage)
        };
        let mut kv = Vec::with_capacity(config.n_layers);
        for layer in 0..config.n_layers {
            let n_bytes = kv_bytes(config, layer, n_cycles, sizes.n_ctx, sizes.kv_type);
            let advice = " (a smaller `--ctx` needs less)";
            gpu.check_binding("the key-value cache of a layer", n_bytes, advice)?;
            kv.push(gpu.storage("kv", n_bytes));
        }
        let advice = " (a smaller `--ctx` needs less)";
        let angle_bytes = 8 * sizes.n_ctx as u64 * (config.head_dim / 2) as u64;
        gpu.check_binding("the table of rotary angles", angle_bytes, advice)?;
        let logits_bytes = 4 * (sizes.n_outputs * config.vocab) as u64;
        let progress_bytes = 4 * (sizes.n_rows * (1 + n_cycles)) as u64;
        Ok(Self {
            sizes,
            lists,
            ids: rows("ids", 1),
            rows: gpu.storage("rows", 4 * lists.n_values(n_cycles)),
            x: rows("x", padded(config.hidden)),
            normed: inputs("normed", padded(config.hidden)),
            qkv: rows("qkv", padded(config.q_dim() + 2 * config.kv_dim())),
            q: rows("q", config.n_heads * padded(config.head_dim)),
            heads: inputs("heads", padded(config.q_dim())),
            mlp: inputs("mlp", padded(config.intermediate)),
            packed: packed(gpu, config, sizes.n_rows),
            logits: gpu.storage("logits", logits_bytes),
            partials: rows("partials", partials),
            progress: gpu.storage("progress", progress_bytes),
            kv,
            rope_angles: gpu.buffer_with(
                "rope_angles",
                &RopeTable::new(config).to_f32(sizes.n_ctx),
                BufferUsages::STORAGE,
            ),
            nothing: gpu.storage("nothing", 16),
            staging: gpu.buffer(
                "staging",
                logits_bytes + progress_bytes,
                BufferUsages::MAP_READ | BufferUsages::COPY_DST,
            ),
        })
    }
}
