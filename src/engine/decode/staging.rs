//! Results on their way from the device to the host.

use wgpu::BufferUsages;

use crate::error::Result;
use crate::gpu::Gpu;
use crate::gpu::read_back::Mapping;

/// Buffers that results are read from, kept for the batches after.
#[derive(Default)]
pub struct Staging {
    idle: Vec<wgpu::Buffer>,
}

/// A buffer that results are being copied to, one after the other.
pub struct Filling {
    buffer: wgpu::Buffer,
    n_bytes: u64,
}

/// Results that will be there once a submission is done.
pub struct Staged(Mapping);

impl Staging {
    /// A buffer for `n_words` words, one at least.
    pub fn open(&mut self, gpu: &Gpu, n_words: usize) -> Filling {
        let n_bytes = 4 * n_words as u64;
        let fitting = self.idle.iter().enumerate();
        let fitting = fitting.filter(|(_, buffer)| buffer.size() >= n_bytes);
        let buffer = match fitting.min_by_key(|(_, buffer)| buffer.size()) {
            Some((i, _)) => self.idle.swap_remove(i),
            None => {
                let usage = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
                gpu.buffer("staging", n_bytes.next_power_of_two(), usage)
            }
        };
        Filling { buffer, n_bytes: 0 }
    }

    /// The bytes, once `index` is done.
    pub async fn bytes(
        &mut self,
        gpu: &Gpu,
        Staged(mapping): Staged,
        index: wgpu::SubmissionIndex,
    ) -> Result<Vec<u8>> {
        let buffer = mapping.buffer.clone();
        let bytes = gpu.mapped(mapping, Some(index)).await?;
        self.idle.push(buffer);
        Ok(bytes)
    }
}

impl Filling {
    /// Copies `n` words of `from`, from word `first` on.
    pub fn copy(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        from: &wgpu::Buffer,
        first: usize,
        n: usize,
    ) {
        if n == 0 {
            return;
        }
        let n_bytes = 4 * n as u64;
        encoder.copy_buffer_to_buffer(from, 4 * first as u64, &self.buffer, self.n_bytes, n_bytes);
        self.n_bytes += n_bytes;
    }

    /// Begins to read what was copied, once the copies are submitted.
    pub fn read(self, gpu: &Gpu) -> Staged {
        Staged(gpu.map(&self.buffer, self.n_bytes))
    }
}
