//! The key-value cache of a parameter layer, in a buffer or a texture.

use crate::engine::memory::layout::{OCTET, padded};
use crate::engine::memory::sizes::{LESS_CONTEXT, Sizes};
use crate::error::Result;
use crate::gpu::{Gpu, Resource, Target};
use crate::kernels::KvType;
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

/// The cache of a parameter layer; see `shaders/shared/kv_buffer.wgsl` and `kv_texture.wgsl`.
pub struct KvCache(Place);

enum Place {
    Buffer(wgpu::Buffer),
    Texture(Box<KvTexture>),
}

/// Views of the texture of a cache.
struct KvTexture {
    /// Places of a head in a row of texels, 2 to this power.
    places_log2: u32,
    /// A view of all layers.
    all: wgpu::TextureView,
    /// Views for each cycle but the last: its own layers, and those of the cycles after it.
    cycles: Vec<[wgpu::TextureView; 2]>,
}

impl KvCache {
    /// The cache of parameter layer `layer`.
    ///
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge) when it does not fit one binding.
    pub fn new(
        gpu: &Gpu,
        target: &Target,
        config: &Config,
        layer: usize,
        n_cycles: usize,
        sizes: Sizes,
    ) -> Result<Self> {
        if target.uses_textures() {
            let n_cycles = cycles_of(config, layer, n_cycles);
            let texture = kv_texture(gpu, config, n_cycles, sizes)?;
            return Ok(Self(Place::Texture(Box::new(texture))));
        }
        let n_bytes = kv_bytes(config, layer, n_cycles, sizes.n_places(), sizes.kv_type);
        gpu.check_binding(CACHE, n_bytes, LESS_CONTEXT)?;
        Ok(Self(Place::Buffer(gpu.storage("kv", n_bytes))))
    }

    /// The whole cache as kernels bind it.
    pub fn resource(&self) -> Resource<'_> {
        match &self.0 {
            Place::Buffer(buffer) => Resource::Buffer(buffer),
            Place::Texture(kv) => Resource::Texture(&kv.all),
        }
    }

    /// The cache as a kernel that copies from cycle `cycle` to later ones binds it: what is read,
    /// and what is written. Two textures share no layer; a buffer is bound once, as the second.
    pub fn copy(&self, cycle: usize) -> [Resource<'_>; 2] {
        match &self.0 {
            Place::Buffer(buffer) => [Resource::Buffer(buffer); 2],
            Place::Texture(kv) => kv.cycles[cycle].each_ref().map(Resource::Texture),
        }
    }

    /// The buffer; `None` for a texture.
    pub fn buffer(&self) -> Option<&wgpu::Buffer> {
        match &self.0 {
            Place::Buffer(buffer) => Some(buffer),
            Place::Texture(_) => None,
        }
    }

    /// The `kv_places` of the kernels' parameters.
    pub fn places(&self, sizes: &Sizes) -> u32 {
        match &self.0 {
            Place::Buffer(_) => sizes.n_places() as u32,
            Place::Texture(kv) => kv.places_log2,
        }
    }
}

/// A cache in a texture, as many places of a head in a row of texels as fit.
fn kv_texture(gpu: &Gpu, config: &Config, n_cycles: usize, sizes: Sizes) -> Result<KvTexture> {
    let texels = padded(config.head_dim) / OCTET * sizes.kv_type.n_bytes() / 2;
    let limit = gpu.target.texture_limit();
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
    Ok(KvTexture {
        cycles: cycles.collect(),
        all: view(0, n_layers),
        places_log2,
    })
}
