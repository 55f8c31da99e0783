//! Memory that a kernel binds as a buffer or as a texture, as its class reads it.

use super::kernel::Resource;

/// A buffer, or a texture with the view that kernels bind.
pub enum Store {
    Buffer(wgpu::Buffer),
    Texture(wgpu::Texture, wgpu::TextureView),
}

impl Store {
    pub fn resource(&self) -> Resource<'_> {
        match self {
            Store::Buffer(buffer) => Resource::Buffer(buffer),
            Store::Texture(_, view) => Resource::Texture(view),
        }
    }

    /// The buffer; `None` for a texture.
    pub fn buffer(&self) -> Option<&wgpu::Buffer> {
        match self {
            Store::Buffer(buffer) => Some(buffer),
            Store::Texture(..) => None,
        }
    }
}

impl From<wgpu::Texture> for Store {
    /// The texture with a view of all of it.
    fn from(texture: wgpu::Texture) -> Self {
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        Store::Texture(texture, view)
    }
}
