//! What a session keeps on the device besides weights: activations, caches, lists of rows.

use wgpu::BufferUsages;

use super::layout::{OCTET, padded};
use crate::error::Result;
use crate::gpu::{Gpu, KernelClass};
use crate::kernels::attention::{Shape, Tiling};
use crate::kernels::pack_rows::PACKED_TILE;
use crate::kernels::{KvType, Resource, UNIFORM_BYTES, kv_copy};
use crate::model::config::Config;
use crate::model::family::PositionKind;
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

/// The cache of a parameter layer; see `shaders/shared/kv_cache.wgsl`.
pub enum Kv {
    Buffer(wgpu::Buffer),
    Texture(Box<KvTexture>),
}

/// The texture of a cache, and views of all of its layers.
pub struct KvTexture {
    texture: wgpu::Texture,
    pub read: wgpu::TextureView,
    write: wgpu::TextureView,
    /// For the cycles before the last: its own layers, and those of the cycles after it.
    cycles: Vec<[wgpu::TextureView; 2]>,
}

impl Kv {
    /// As what writes it sees it.
    pub fn write(&self) -> Resource<'_> {
        match self {
            Kv::Buffer(buffer) => Resource::Buffer(buffer),
            Kv::Texture(kv) => Resource::Texture(&kv.write),
        }
    }

    /// As what copies from cycle `cycle` to later ones sees it.
    pub fn copy(&self, cycle: usize) -> kv_copy::Cache<'_> {
        match self {
            Kv::Buffer(buffer) => kv_copy::Cache::Buffer(buffer),
            Kv::Texture(kv) => {
                let [from, to] = &kv.cycles[cycle];
                kv_copy::Cache::Texture { from, to }
            }
        }
    }

    /// The `kv_positions` of the kernels' parameters.
    pub fn positions(&self, n_ctx: usize) -> u32 {
        match self {
            Kv::Buffer(_) => n_ctx as u32,
            Kv::Texture(kv) => kv.texture.height().ilog2(),
        }
    }
}

/// A cache in a texture. Positions beyond the largest height go on to the right.
fn kv_texture(gpu: &Gpu, config: &Config, n_cycles: usize, sizes: Sizes) -> Result<Kv> {
    let octets = config.n_kv_heads * padded(config.head_dim) / OCTET;
    let texels = octets * sizes.kv_type.n_bytes() / 2;
    let limits = &gpu.limits;
    let limit = limits.max_texture_dimension_2d as usize;
    // The least height, and so the least waste, that is a power of two.
    let width_of = |height: usize| texels * sizes.n_ctx.div_ceil(height);
    let mut height = 64;
    while width_of(height) > limit && 2 * height <= limit {
        height *= 2;
    }
    let width = width_of(height);
    let n_layers = 2 * n_cycles;
    if width > limit || n_layers > limits.max_texture_array_layers as usize {
        let n_bytes = (16 * width * height * n_layers) as u64;
        return Err(gpu.too_large(CACHE, n_bytes, LESS_CONTEXT));
    }
    let texture = gpu.device.create_texture(&wgpu::TextureDescriptor {
        label: Some("kv"),
        size: wgpu::Extent3d {
            width: width as u32,
            height: height as u32,
            depth_or_array_layers: n_layers as u32,
        },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: wgpu::TextureFormat::Rgba32Uint,
        usage: wgpu::TextureUsages::TEXTURE_BINDING
            | wgpu::TextureUsages::STORAGE_BINDING
            | wgpu::TextureUsages::COPY_SRC,
        view_formats: &[],
    });
    let view = |usage, first: usize, n: usize| {
        texture.create_view(&wgpu::TextureViewDescriptor {
            usage: Some(usage),
            dimension: Some(wgpu::TextureViewDimension::D2Array),
            base_array_layer: first as u32,
            array_layer_count: Some(n as u32),
            ..Default::default()
        })
    };
    let (read, write) = (
        wgpu::TextureUsages::TEXTURE_BINDING,
        wgpu::TextureUsages::STORAGE_BINDING,
    );
    let cycles = (1..n_cycles).map(|next| {
        [
            view(read, 2 * next - 2, 2),
            view(write, 2 * next, n_layers - 2 * next),
        ]
    });
    Ok(Kv::Texture(Box::new(KvTexture {
        cycles: cycles.collect(),
        read: view(read, 0, n_layers),
        write: view(write, 0, n_layers),
        texture,
    })))
}

const CACHE: &str = "the key-value cache of a layer";
const LESS_CONTEXT: &str = " (a smaller `--ctx` needs less)";

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
    /// What the splits of a row's attention leave; see `shaders/shared/split.wgsl`.
    pub parts: wgpu::Buffer,
    /// f32 `[row][cycles run, score of each cycle]`.
    pub progress: wgpu::Buffer,
    /// The cache of each parameter layer.
    pub kv: Vec<Kv>,
    /// f32 `[position][4 head_octets][cos, sin]`; a placeholder without rotary embedding.
    pub rope_angles: wgpu::Buffer,
    /// What kernels read from textures rather than from buffers, where their class does.
    pub textures: Textures,
    /// For bindings that a model does not use.
    pub nothing: wgpu::Buffer,
    /// Where the host reads logits and progress from.
    pub staging: wgpu::Buffer,
}

/// Bytes of the cache of parameter layer `layer`.
pub fn kv_bytes(config: &Config, layer: usize, n_cycles: usize, n_ctx: usize, kv: KvType) -> u64 {
    let factors = [
        2,
        cycles_of(config, layer, n_cycles),
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

/// Cycles that parameter layer `layer` is part of.
fn cycles_of(config: &Config, layer: usize, n_cycles: usize) -> usize {
    let middle = config.head_layers()..config.head_layers() + config.middle_layers();
    if middle.contains(&layer) { n_cycles } else { 1 }
}

/// What attention is tiled by.
pub fn attention_shape(config: &Config, n_ctx: usize) -> Shape {
    Shape {
        n_heads: config.n_heads as u32,
        n_kv_heads: config.n_kv_heads as u32,
        head_octets: (padded(config.head_dim) / OCTET) as u32,
        n_ctx: n_ctx as u32,
    }
}

/// Activations in textures; placeholders where the class has no use for them.
pub struct Textures {
    /// Rows of what a linear map reads, f32 `[listed row][widest input]`.
    pub packed: wgpu::TextureView,
    /// Position-encoded queries, f32 `[row][head, head_stride]`.
    pub q: wgpu::TextureView,
    /// Attention's scores, f32 `[listed row, head][key]`.
    pub scores: wgpu::TextureView,
}

impl Textures {
    fn new(gpu: &Gpu, kernels: KernelClass, config: &Config, sizes: Sizes) -> Result<Self> {
        let widest = config.hidden.max(config.q_dim()).max(config.intermediate);
        let n_rows = sizes.n_rows;
        let q_dim = config.n_heads * padded(config.head_dim);
        Ok(Self {
            packed: activations(
                gpu,
                kernels,
                "packed",
                padded(widest),
                n_rows.next_multiple_of(PACKED_TILE),
            )?,
            q: activations(gpu, kernels, "queries", q_dim, n_rows)?,
            scores: activations(
                gpu,
                kernels,
                "scores",
                sizes.n_ctx.next_multiple_of(OCTET),
                n_rows * config.n_heads,
            )?,
        })
    }
}

/// A texture of `height` rows of `width` f32.
fn activations(
    gpu: &Gpu,
    kernels: KernelClass,
    label: &'static str,
    width: usize,
    height: usize,
) -> Result<wgpu::TextureView> {
    let size = match kernels {
        KernelClass::Texture => [width / 4, height],
        KernelClass::Subgroup | KernelClass::Workgroup => [1, 1],
    };
    let limit = gpu.limits.max_texture_dimension_2d as usize;
    if size.iter().any(|&n| n > limit) {
        let n_bytes = 16 * size.iter().product::<usize>() as u64;
        return Err(gpu.too_large(label, n_bytes, LESS_CONTEXT));
    }
    let usage = wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::STORAGE_BINDING;
    let format = wgpu::TextureFormat::Rgba32Float;
    let texture = gpu.texture(label, size.map(|n| n as u32), format, usage);
    Ok(texture.create_view(&wgpu::TextureViewDescriptor::default()))
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
        // What a linear map reads may be bound as a uniform buffer, which has a fixed length.
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
            let n_bytes = kv_bytes(config, layer, n_cycles, sizes.n_ctx, sizes.kv_type);
            kv.push(match kernels {
                KernelClass::Subgroup | KernelClass::Workgroup => {
                    gpu.check_binding(CACHE, n_bytes, LESS_CONTEXT)?;
                    Kv::Buffer(gpu.storage("kv", n_bytes))
                }
                KernelClass::Texture => {
                    kv_texture(gpu, config, cycles_of(config, layer, n_cycles), sizes)?
                }
            });
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
