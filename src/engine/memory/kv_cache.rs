//! The key-value cache of a parameter layer, in a buffer or a texture.

use crate::engine::memory::layout::{OCTET, padded};
use crate::engine::memory::sizes::{LESS_CONTEXT, Sizes};
use crate::error::Result;
use crate::gpu::{Gpu, KernelClass, Resource};
use crate::kernels::{KvType, kv_copy};
use crate::model::config::Config;

/// The name of a KV cache in errors.
const CACHE: &str = "the key-value cache of a layer";

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

/// The cache of a parameter layer; see `shaders/shared/kv_cache.wgsl`.
pub enum Kv {
    Buffer(wgpu::Buffer),
    Texture(Box<KvTexture>),
}

/// Views of the texture of a cache.
pub struct KvTexture {
    /// Places of a head in a row of texels, 2 to this power.
    places_log2: u32,
    /// A view of all layers.
    pub all: wgpu::TextureView,
    /// Views for each cycle but the last: its own layers, and those of the cycles after it.
    cycles: Vec<[wgpu::TextureView; 2]>,
}

impl Kv {
    /// The cache of parameter layer `layer`.
    ///
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge) when it does not fit one binding.
    pub fn new(
        gpu: &Gpu,
        kernels: KernelClass,
        config: &Config,
        layer: usize,
        n_cycles: usize,
        sizes: Sizes,
    ) -> Result<Self> {
        match kernels {
            KernelClass::Subgroup | KernelClass::Workgroup => {
                let n_bytes = kv_bytes(config, layer, n_cycles, sizes.n_places(), sizes.kv_type);
                gpu.check_binding(CACHE, n_bytes, LESS_CONTEXT)?;
                Ok(Kv::Buffer(gpu.storage("kv", n_bytes)))
            }
            KernelClass::Texture => {
                kv_texture(gpu, config, cycles_of(config, layer, n_cycles), sizes)
            }
        }
    }

    /// The cache as a kernel that writes it binds it.
    pub fn write(&self) -> Resource<'_> {
        match self {
            Kv::Buffer(buffer) => Resource::Buffer(buffer),
            Kv::Texture(kv) => Resource::Texture(&kv.all),
        }
    }

    /// The cache as a kernel that copies from cycle `cycle` to later ones binds it.
    pub fn copy(&self, cycle: usize) -> kv_copy::Cache<'_> {
        match self {
            Kv::Buffer(buffer) => kv_copy::Cache::Buffer(buffer),
            Kv::Texture(kv) => {
                let [from, to] = &kv.cycles[cycle];
                kv_copy::Cache::Texture { from, to }
            }
        }
    }

    /// The `kv_places` of the kernels' parameters.
    pub fn places(&self, sizes: &Sizes) -> u32 {
        match self {
            Kv::Buffer(_) => sizes.n_places() as u32,
            Kv::Texture(kv) => kv.places_log2,
        }
    }
}

/// A cache in a texture, as many places of a head in a row of texels as fit.
fn kv_texture(gpu: &Gpu, config: &Config, n_cycles: usize, sizes: Sizes) -> Result<Kv> {
    let texels = padded(config.head_dim) / OCTET * sizes.kv_type.n_bytes() / 2;
    let limit = gpu.limits.max_texture_dimension_2d as usize;
    let n_places = sizes.n_places();
    let places_log2 = n_places.min(limit / texels).max(1).ilog2();
    let width = texels << places_log2;
    let height = n_places.div_ceil(1 << places_log2) * config.n_kv_heads;
    let n_layers = 2 * n_cycles;
    gpu.check_texture(CACHE, [width, height, n_layers], LESS_CONTEXT)?;
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
        usage: wgpu::TextureUsages::STORAGE_BINDING | wgpu::TextureUsages::COPY_SRC,
        view_formats: &[],
    });
    let view = |first: usize, n: usize| {
        texture.create_view(&wgpu::TextureViewDescriptor {
            dimension: Some(wgpu::TextureViewDimension::D2Array),
            base_array_layer: first as u32,
            array_layer_count: Some(n as u32),
            ..Default::default()
        })
    };
    let cycles = (1..n_cycles).map(|next| {
        let first_later = 2 * next;
        [
            view(first_later - 2, 2),
            view(first_later, n_layers - first_later),
        ]
    });
    Ok(Kv::Texture(Box::new(KvTexture {
        cycles: cycles.collect(),
        all: view(0, n_layers),
        places_log2,
    })))
}
