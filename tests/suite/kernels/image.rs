//! Textures that tests fill and read back.

use anyhow::Result;
use wgpu::{BufferUsages, TextureFormat, TextureUsages, TextureViewDimension};
use ztt_wgpu::gpu::{Gpu, Store};

/// A texture of 16-byte texels, of one layer or several.
pub struct Image {
    texture: wgpu::Texture,
}

impl Image {
    /// `size`: texels of a row, rows, layers.
    pub fn new(gpu: &Gpu, format: TextureFormat, size: [usize; 3]) -> Self {
        let [width, height, layers] = size.map(|n| n as u32);
        let texture = gpu.device.create_texture(&wgpu::TextureDescriptor {
            label: Some("data"),
            size: wgpu::Extent3d {
                width,
                height,
                depth_or_array_layers: layers,
            },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format,
            usage: TextureUsages::TEXTURE_BINDING
                | TextureUsages::STORAGE_BINDING
                | TextureUsages::COPY_DST
                | TextureUsages::COPY_SRC,
            view_formats: &[],
        });
        Self { texture }
    }

    fn row_bytes(&self) -> u32 {
        16 * self.texture.width()
    }

    /// Fills the texture: four words a texel.
    pub fn write(&self, gpu: &Gpu, words: &[u32]) {
        gpu.queue.write_texture(
            self.texture.as_image_copy(),
            bytemuck::cast_slice(words),
            wgpu::TexelCopyBufferLayout {
                offset: 0,
                bytes_per_row: Some(self.row_bytes()),
                rows_per_image: Some(self.texture.height()),
            },
            self.texture.size(),
        );
    }

    /// A view of the whole texture.
    pub fn view(&self, dimension: TextureViewDimension) -> wgpu::TextureView {
        self.texture.create_view(&wgpu::TextureViewDescriptor {
            dimension: Some(dimension),
            ..Default::default()
        })
    }

    /// A view of the `n` layers from `first` on.
    pub fn layers(&self, first: usize, n: usize) -> wgpu::TextureView {
        self.texture.create_view(&wgpu::TextureViewDescriptor {
            dimension: Some(TextureViewDimension::D2Array),
            base_array_layer: first as u32,
            array_layer_count: Some(n as u32),
            ..Default::default()
        })
    }

    /// The words of the texture.
    pub fn read(&self, gpu: &Gpu) -> Result<Vec<u32>> {
        let row_bytes = self.row_bytes().next_multiple_of(256);
        let size = self.texture.size();
        let n_rows = u64::from(size.height * size.depth_or_array_layers);
        let usage = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
        let staging = gpu.buffer("staging", u64::from(row_bytes) * n_rows, usage);
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        encoder.copy_texture_to_buffer(
            self.texture.as_image_copy(),
            wgpu::TexelCopyBufferInfo {
                buffer: &staging,
                layout: wgpu::TexelCopyBufferLayout {
                    offset: 0,
                    bytes_per_row: Some(row_bytes),
                    rows_per_image: Some(size.height),
                },
            },
            size,
        );
        gpu.queue.submit([encoder.finish()]);
        let bytes = pollster::block_on(gpu.read(&staging, staging.size()))?;
        let rows = bytes.chunks(row_bytes as usize);
        Ok(rows
            .flat_map(|row| &row[..self.row_bytes() as usize])
            .copied()
            .collect::<Vec<u8>>()
            .chunks(4)
            .map(bytemuck::pod_read_unaligned)
            .collect())
    }
}

impl From<Image> for Store {
    fn from(image: Image) -> Self {
        image.texture.into()
    }
}
