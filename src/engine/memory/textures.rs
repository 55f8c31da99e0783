//! Activations that kernels of the class `texture` read from textures.

use crate::engine::memory::layout::{OCTET, padded};
use crate::engine::memory::sizes::{LESS_CONTEXT, Sizes};
use crate::error::Result;
use crate::gpu::{Gpu, KernelClass};
use crate::kernels::pack_rows::PACKED_TILE;
use crate::model::config::Config;

/// Activations in textures; placeholders where the class has no use for them.
pub struct Textures {
    /// Input rows of a linear map, f32 `[listed row][widest input]`.
    pub packed: wgpu::TextureView,
    /// Position-encoded queries, f32 `[row][head, head_stride]`.
    pub q: wgpu::TextureView,
    /// Attention's scores, f32 `[listed row, head][key]`.
    pub scores: wgpu::TextureView,
}

impl Textures {
    pub fn new(gpu: &Gpu, kernels: KernelClass, config: &Config, sizes: Sizes) -> Result<Self> {
        let widest = config.hidden.max(config.q_dim()).max(config.intermediate);
        let n_rows = sizes.n_rows;
        let q_dim = config.n_heads * padded(config.head_dim);
        Ok(Self {
            packed: activations(
                gpu,
                kernels,
                "the table of packed activations",
                padded(widest),
                n_rows.next_multiple_of(PACKED_TILE),
            )?,
            q: activations(gpu, kernels, "the table of queries", q_dim, n_rows)?,
            scores: activations(
                gpu,
                kernels,
                "the table of attention scores",
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
    gpu.check_texture(label, [size[0], size[1], 1], LESS_CONTEXT)?;
    let usage = wgpu::TextureUsages::STORAGE_BINDING;
    let format = wgpu::TextureFormat::Rgba32Float;
    let texture = gpu.texture(label, size.map(|n| n as u32), format, usage);
    Ok(texture.create_view(&wgpu::TextureViewDescriptor::default()))
}
