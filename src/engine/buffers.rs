//! The buffers of a session on the device besides weights: activations, KV caches, lists of rows.

use wgpu::BufferUsages;

use super::batch::Place;
use super::kv_cache::Kv;
use super::layout::{OCTET, padded};
use super::textures::Textures;
use crate::error::Result;
use crate::gpu::{Gpu, KernelClass, UNIFORM_BYTES};
use crate::kernels::KvType;
use crate::kernels::attention::{Shape, Tiling};
use crate::model::config::Config;
use crate::model::family::PositionKind;
use crate::rope::RopeTable;
use crate::schedule::Schedule;

/// Advice in the error of a session that does not fit.
pub(super) const LESS_CONTEXT: &str = " (a smaller `--ctx` needs less)";

/// Sizes of a session.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Positions of a sequence.
    pub n_ctx: usize,
    pub n_sequences: usize,
    /// Rows that one submission computes at most.
    pub n_rows: usize,
    /// Rows of those that get logits, at most.
    pub n_outputs: usize,
    pub kv_type: KvType,
}

/// Sequences begin where blocks of keys do, so that they are summed as they would be alone.
const SEQUENCE_ALIGN: usize = 64;

impl Sizes {
    /// Where a sequence begins in the cache.
    pub fn cache_start(&self, sequence: usize) -> usize {
        sequence * self.n_ctx.next_multiple_of(SEQUENCE_ALIGN)
    }

    /// Positions of all sequences in the cache.
    pub fn n_places(&self) -> usize {
        self.cache_start(self.n_sequences - 1) + self.n_ctx
    }
}

/// Where the lists lie in the `rows` buffer; see `shaders/shared/rows.wgsl`.
#[derive(Clone, Copy, Debug)]
pub struct Lists {
    n_rows: u32,
}

impl Lists {
    fn at(self, i: u32) -> u32 {
        2 * self.n_rows + i * (1 + self.n_rows)
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

    /// Rows that continue after cycle `cycle`.
    pub fn staying(self, cycle: usize) -> u32 {
        self.at(3 + 2 * cycle as u32)
    }

    /// Rows that exit after cycle `cycle`.
    pub fn leaving(self, cycle: usize) -> u32 {
        self.at(4 + 2 * cycle as u32)
    }

    /// Values of the whole buffer.
    fn n_values(self, n_cycles: usize) -> u64 {
        u64::from(self.at(3 + 2 * n_cycles as u32))
    }

    /// The whole buffer with every row in every list; the last row alone gets logits.
    pub fn every_list(self, places: &[Place], n_cycles: usize) -> Vec<u32> {
        let mut values = self.host_part(places, &[places.len() as u32 - 1]);
        for _ in 0..2 * n_cycles {
            values.push(places.len() as u32);
            values.extend(0..self.n_rows);
        }
        values
    }

    /// The part of the buffer that the host writes for a batch: places, and the first three lists.
    pub fn host_part(self, places: &[Place], outputs: &[u32]) -> Vec<u32> {
        let mut values = vec![0; self.at(3) as usize];
        for (row, place) in values.chunks_exact_mut(2).zip(places) {
            row.copy_from_slice(&[place.position as u32, place.cache_start as u32]);
        }
        let mut put = |list: u32, rows: &mut dyn Iterator<Item = u32>| {
            let at = list as usize;
            for row in rows {
                values[at] += 1;
                let i = at + values[at] as usize;
                values[i] = row;
            }
        };
        put(self.all(), &mut (0..places.len() as u32));
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
    /// f32 `[row][head][head_stride]` of queries, keys and values, for families that norm them
    /// before they go on; a placeholder for others.
    pub qkv: wgpu::Buffer,
    /// Position-encoded queries, f32 `[row][head][head_stride]`.
    pub q: wgpu::Buffer,
    /// Attention's outputs, f32 `[row][n_heads * head_dim]`.
    pub heads: wgpu::Buffer,
    /// f32 `[row][intermediate]`
    pub mlp: wgpu::Buffer,
    /// f32 `[output row][vocab]`, not padded.
    pub logits: wgpu::Buffer,
    /// Zero attention, f32 `[row][middle layer][head]`.
    pub zeros: wgpu::Buffer,
    /// Partial outputs of split-K attention; see `shaders/shared/split.wgsl`.
    pub parts: wgpu::Buffer,
    /// f32 `[row][cycles run, score of each cycle]`.
    pub progress: wgpu::Buffer,
    /// The KV cache of each parameter layer.
    pub kv: Vec<Kv>,
    /// f32 `[position][4 head_octets][cos, sin]`; a placeholder without rotary embedding.
    pub rope_angles: wgpu::Buffer,
    /// Activations that kernels of the class `texture` read from textures rather than buffers.
    pub textures: Textures,
    /// A placeholder for bindings that a model does not use.
    pub nothing: wgpu::Buffer,
    /// Where the host reads logits and progress from.
    pub staging: wgpu::Buffer,
}

/// The heads and positions that attention is tiled by.
pub fn attention_shape(config: &Config, n_ctx: usize) -> Shape {
    Shape {
        n_heads: config.n_heads as u32,
        n_kv_heads: config.n_kv_heads as u32,
        head_octets: (padded(config.head_dim) / OCTET) as u32,
        n_ctx: n_ctx as u32,
    }
}

impl Buffers {
    /// Buffers that kernels read besides weights and lists.
    pub fn activations(&self) -> impl Iterator<Item = &wgpu::Buffer> {
        let rows = [
            &self.x,
            &self.normed,
            &self.qkv,
            &self.q,
            &self.heads,
            &self.mlp,
            &self.zeros,
            &self.logits,
        ];
        let caches = self.kv.iter().filter_map(|kv| match kv {
            Kv::Buffer(buffer) => Some(buffer),
            Kv::Texture(_) => None,
        });
        rows.into_iter().chain(caches)
    }

    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge) when a cache does not fit one binding.
    pub fn new(
        gpu: &Gpu,
        kernels: KernelClass,
        config: &Config,
        schedule: &Schedule,
        sizes: Sizes,
    ) -> Result<Self> {
        let n_cycles = schedule.n_cycles();
        let lists = Lists {
            n_rows: sizes.n_rows as u32,
        };
        let shape = attention_shape(config, sizes.n_ctx);
        let tiling = Tiling::one_row(shape);
        let f32s = |label: &str, rows: usize, width: usize| {
            gpu.storage(
                label,
                4u64.saturating_mul(rows as u64)
                    .saturating_mul(width as u64),
            )
        };
        let rows = |label: &str, width: usize| f32s(label, sizes.n_rows, width);
        // The input of a linear map may be bound as a uniform buffer, which has a fixed length.
        let inputs_of = |label: &str, n_bytes: u64| {
            let copy = BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
            let usage = BufferUsages::STORAGE | BufferUsages::UNIFORM | copy;
            gpu.buffer(label, n_bytes.max(UNIFORM_BYTES), usage)
        };
        let inputs = |label: &str, width: usize| {
            let n_bytes = 4u64.saturating_mul(sizes.n_rows as u64) * width as u64;
            inputs_of(label, n_bytes)
        };
        let n_pairs = match config.position {
            PositionKind::Rope => padded(config.head_dim) / 2,
            PositionKind::Learned => 0,
        };
        let angle_bytes = 8 * sizes.n_ctx as u64 * n_pairs as u64;
        gpu.check_binding("the table of rotary angles", angle_bytes, LESS_CONTEXT)?;
        let mut kv = Vec::with_capacity(config.n_layers);
        for layer in 0..config.n_layers {
            kv.push(Kv::new(gpu, kernels, config, layer, n_cycles, sizes)?);
        }
        // Only these families keep what they project.
        let qkv_width = match config.family.tensors.qk_norm {
            Some(_) => (config.n_heads + 2 * config.n_kv_heads) * padded(config.head_dim),
            None => 0,
        };
        let logits_bytes = 4 * (sizes.n_outputs * config.vocab) as u64;
        let progress_bytes = 4 * (sizes.n_rows * (1 + n_cycles)) as u64;
        Ok(Self {
            sizes,
            lists,
            ids: rows("ids", 1),
            rows: gpu.storage("rows", 4 * lists.n_values(n_cycles)),
            x: inputs("x", padded(config.hidden)),
            normed: inputs("normed", padded(config.hidden)),
            qkv: rows("qkv", qkv_width),
            q: rows("q", config.n_heads * padded(config.head_dim)),
            heads: inputs("heads", padded(config.q_dim())),
            mlp: inputs("mlp", padded(config.intermediate)),
            textures: Textures::new(gpu, kernels, config, sizes)?,
            // Sampling reads four at a time.
            logits: gpu.storage("logits", logits_bytes.next_multiple_of(16)),
            zeros: rows("zeros", config.middle_layers() * config.n_heads),
            parts: gpu.storage("parts", tiling.parts_bytes(shape, 1)),
            progress: gpu.storage("progress", progress_bytes),
            kv,
            rope_angles: gpu.buffer_with(
                "rope_angles",
                &RopeTable::new(config).to_f32(sizes.n_ctx, n_pairs),
                BufferUsages::STORAGE,
            ),
            nothing: inputs_of("nothing", 0),
            staging: gpu.buffer(
                "staging",
                logits_bytes + progress_bytes,
                BufferUsages::MAP_READ | BufferUsages::COPY_DST,
            ),
        })
    }
}
