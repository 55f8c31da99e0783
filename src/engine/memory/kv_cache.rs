//! The key-value cache of a parameter layer, in a buffer or a texture.

use crate::engine::memory::layout::{OCTET, TEXEL_BYTES, padded};
use crate::engine::memory::sizes::{LESS_CONTEXT, Sizes};
use crate::error::Result;
use crate::gpu::{Gpu, Resource, Target};
use crate::kernels::KvType;
use crate::model::config::Config;

/// The name of a KV cache in errors.
const CACHE: &str = "the key-value cache of a layer";

/// Bytes of the cache of parameter layer `layer`, of a text of `n_ctx` positions, in a buffer. In a
/// texture rows of heads are whole texels, which makes those of q8_0 a little longer.
pub fn kv_bytes(config: &Config, layer: usize, n_cycles: usize, n_ctx: usize, kv: KvType) -> u64 {
    // Absurd sizes stay large instead of wrapping round: no adapter takes them.
    let n_places = (n_ctx as u64).saturating_mul(n_runs(config, layer, n_cycles));
    n_places.saturating_mul(place_bytes(config, kv))
}

/// Bytes of a head's keys, or values, at one place.
fn place_bytes(config: &Config, kv: KvType) -> u64 {
    kv.row_bytes(padded(config.head_dim) / OCTET) as u64
}

/// Runs of places in the cache of a parameter layer: keys and values of each head in each cycle.
fn n_runs(config: &Config, layer: usize, n_cycles: usize) -> u64 {
    let n_heads = 2 * cycles_of(config, layer, n_cycles) as u64;
    n_heads.saturating_mul(config.n_kv_heads as u64)
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
    shape: Shape,
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
        Self::check(gpu, target, config, layer, n_cycles, sizes)?;
        if target.uses_textures() {
            let n_cycles = cycles_of(config, layer, n_cycles);
            let texture = kv_texture(gpu, Shape::of(target, config, sizes), n_cycles);
            return Ok(Self(Place::Texture(Box::new(texture))));
        }
        let n_bytes = kv_bytes(config, layer, n_cycles, sizes.n_places(), sizes.kv_type);
        Ok(Self(Place::Buffer(gpu.storage("kv", n_bytes))))
    }

    /// Refuses a cache that does not fit one binding.
    pub fn check(
        gpu: &Gpu,
        target: &Target,
        config: &Config,
        layer: usize,
        n_cycles: usize,
        sizes: Sizes,
    ) -> Result<()> {
        if target.uses_textures() {
            let [width, height] = Shape::of(target, config, sizes).size;
            let n_layers = 2 * cycles_of(config, layer, n_cycles);
            return gpu.check_texture(CACHE, [width, height, n_layers], LESS_CONTEXT);
        }
        let n_bytes = kv_bytes(config, layer, n_cycles, sizes.n_places(), sizes.kv_type);
        gpu.check_binding(CACHE, n_bytes, LESS_CONTEXT)
    }

    /// Bytes of the cache on the device.
    pub fn n_bytes(&self) -> u64 {
        match &self.0 {
            Place::Buffer(buffer) => buffer.size(),
            Place::Texture(kv) => {
                let size = kv.all.texture().size();
                let n_texels = u64::from(size.width) * u64::from(size.height);
                TEXEL_BYTES as u64 * n_texels * u64::from(size.depth_or_array_layers)
            }
        }
    }

    /// Encodes copies of the positions of every sequence in `from`, the cache of the same layer
    /// with other room, as far as there is room for them in both.
    pub fn copy_from(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        config: &Config,
        (from, from_sizes): (&KvCache, Sizes),
        sizes: Sizes,
    ) {
        let n = from_sizes.room.min(sizes.room);
        let starts = |sequence| [&from_sizes, &sizes].map(|s| s.cache_start(sequence));
        for starts in (0..sizes.n_sequences).map(starts) {
            match (&from.0, &self.0) {
                (Place::Buffer(from), Place::Buffer(to)) => {
                    let n_places = [&from_sizes, &sizes].map(|s| s.n_places() as u64);
                    let place_bytes = place_bytes(config, sizes.kv_type);
                    let n_runs = to.size() / place_bytes / n_places[1];
                    for run in 0..n_runs {
                        let at = |i: usize| (run * n_places[i] + starts[i] as u64) * place_bytes;
                        let n_bytes = n as u64 * place_bytes;
                        encoder.copy_buffer_to_buffer(from, at(0), to, at(1), n_bytes);
                    }
                }
                (Place::Texture(from), Place::Texture(to)) => {
                    to.copy_from(encoder, from, starts, n, config.n_kv_heads);
                }
                // A layer stays where it is.
                (Place::Buffer(_), Place::Texture(_)) | (Place::Texture(_), Place::Buffer(_)) => {}
            }
        }
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
            Place::Texture(kv) => kv.shape.places_log2,
        }
    }
}

impl KvTexture {
    /// Encodes copies of `n` places of `from`, from the first of `starts` on, to the second one and
    /// those after it: for each head, the places that share a row of texels in both.
    fn copy_from(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        from: &KvTexture,
        starts: [usize; 2],
        n: usize,
        n_heads: usize,
    ) {
        let [from_texture, to_texture] = [from, self].map(|kv| kv.all.texture());
        let texels = self.shape.texels;
        let mut done = 0;
        while done < n {
            let [(x, row, from_left), (to_x, to_row, to_left)] = [
                from.shape.row_of(starts[0] + done),
                self.shape.row_of(starts[1] + done),
            ];
            let n_places = (n - done).min(from_left).min(to_left);
            for head in 0..n_heads {
                let origin = |x: usize, row: usize| wgpu::Origin3d {
                    x: x as u32,
                    y: (row * n_heads + head) as u32,
                    z: 0,
                };
                encoder.copy_texture_to_texture(
                    wgpu::TexelCopyTextureInfo {
                        origin: origin(x, row),
                        ..from_texture.as_image_copy()
                    },
                    wgpu::TexelCopyTextureInfo {
                        origin: origin(to_x, to_row),
                        ..to_texture.as_image_copy()
                    },
                    wgpu::Extent3d {
                        width: (n_places * texels) as u32,
                        height: 1,
                        depth_or_array_layers: to_texture.depth_or_array_layers(),
                    },
                );
            }
            done += n_places;
        }
    }
}

/// How a cache lies in a texture: as many places of a head in a row of texels as fit.
#[derive(Clone, Copy)]
struct Shape {
    /// Places of a head in a row of texels, 2 to this power.
    places_log2: u32,
    /// Texels of a head's place.
    texels: usize,
    /// Width and height in texels.
    size: [usize; 2],
}

impl Shape {
    fn of(target: &Target, config: &Config, sizes: Sizes) -> Self {
        let texels = sizes.kv_type.row_texels(padded(config.head_dim) / OCTET);
        let n_places = sizes.n_places();
        let places_log2 = n_places.min(target.texture_limit() / texels).max(1).ilog2();
        let n_rows = n_places.div_ceil(1 << places_log2);
        Self {
            places_log2,
            texels,
            size: [texels << places_log2, n_rows * config.n_kv_heads],
        }
    }

    /// Where a place begins in its row of texels, which row that is, and how many places from it on
    /// share the row.
    fn row_of(&self, place: usize) -> (usize, usize, usize) {
        let n_places = 1 << self.places_log2;
        let column = place % n_places;
        (column * self.texels, place / n_places, n_places - column)
    }
}

/// A cache in a texture.
fn kv_texture(gpu: &Gpu, shape: Shape, n_cycles: usize) -> KvTexture {
    let n_layers = 2 * n_cycles;
    let [width, height] = shape.size;
    let copied = wgpu::TextureUsages::COPY_SRC | wgpu::TextureUsages::COPY_DST;
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
        usage: wgpu::TextureUsages::STORAGE_BINDING | copied,
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
    KvTexture {
        cycles: cycles.collect(),
        all: view(0, n_layers),
        shape,
    }
}
