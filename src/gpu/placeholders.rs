//! What is bound where a call has no use for a binding.

use wgpu::{BufferUsages, TextureFormat, TextureUsages, TextureView, TextureViewDimension};

use super::kernel::{Access, UNIFORM_BYTES};

/// A buffer that is read, one that is written, and small textures of each kind: WebGPU forbids a
/// dispatch to write what it binds a second time.
pub(super) struct Placeholders {
    read: wgpu::Buffer,
    written: wgpu::Buffer,
    floats: TextureView,
    words: TextureView,
    word_layers: TextureView,
}

impl Placeholders {
    pub fn new(device: &wgpu::Device) -> Self {
        let buffer = |size: u64, usage: BufferUsages| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("placeholder"),
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        let texture = |format: TextureFormat| {
            device.create_texture(&wgpu::TextureDescriptor {
                label: Some("placeholder"),
                size: wgpu::Extent3d::default(),
                mip_level_count: 1,
                sample_count: 1,
                dimension: wgpu::TextureDimension::D2,
                format,
                usage: TextureUsages::STORAGE_BINDING | TextureUsages::TEXTURE_BINDING,
                view_formats: &[],
            })
        };
        let view = |texture: &wgpu::Texture, dimension: TextureViewDimension| {
            texture.create_view(&wgpu::TextureViewDescriptor {
                dimension: Some(dimension),
                ..Default::default()
            })
        };
        let words = texture(TextureFormat::Rgba32Uint);
        Self {
            read: buffer(UNIFORM_BYTES, BufferUsages::STORAGE | BufferUsages::UNIFORM),
            written: buffer(16, BufferUsages::STORAGE),
            floats: view(
                &texture(TextureFormat::Rgba32Float),
                TextureViewDimension::D2,
            ),
            words: view(&words, TextureViewDimension::D2),
            word_layers: view(&words, TextureViewDimension::D2Array),
        }
    }

    /// The placeholder for a binding of this access.
    pub fn of(&self, access: Access) -> wgpu::BindingResource<'_> {
        let view = wgpu::BindingResource::TextureView;
        match access {
            Access::Read | Access::Uniform => self.read.as_entire_binding(),
            Access::ReadWrite => self.written.as_entire_binding(),
            Access::FloatTexture | Access::WriteTexture => view(&self.floats),
            Access::Texture | Access::SampledTexture => view(&self.words),
            Access::TextureArray | Access::WriteTextureArray => view(&self.word_layers),
        }
    }
}
