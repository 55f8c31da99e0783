//! Reading buffers back, at once or once something else is done.

use std::sync::Mutex;

use futures_channel::oneshot;
use wgpu::{BufferAsyncError, MapMode, SubmissionIndex};

use super::device::Gpu;
use crate::error::{Result, first_line};

/// The beginning of a buffer on its way to the host.
pub struct Mapping {
    pub buffer: wgpu::Buffer,
    n_bytes: u64,
    mapped: oneshot::Receiver<Result<(), BufferAsyncError>>,
}

impl Gpu {
    /// The first `n_bytes` of a mappable buffer, once everything submitted before is done.
    pub async fn read(&self, buffer: &wgpu::Buffer, n_bytes: u64) -> Result<Vec<u8>> {
        let mapping = self.map(buffer, n_bytes);
        self.mapped(mapping, None).await
    }

    /// Begins to read the first `n_bytes` of a mappable buffer. Nothing may be submitted that
    /// uses it until [`Gpu::mapped`] has returned them.
    pub fn map(&self, buffer: &wgpu::Buffer, n_bytes: u64) -> Mapping {
        let (sender, mapped) = oneshot::channel();
        // The callback is called once, but its type does not say so.
        let sender = Mutex::new(Some(sender));
        buffer.map_async(MapMode::Read, ..n_bytes, move |result| {
            let sender = sender.lock().ok().and_then(|mut s| s.take());
            if let Some(sender) = sender {
                let _ = sender.send(result);
            }
        });
        Mapping {
            buffer: buffer.clone(),
            n_bytes,
            mapped,
        }
    }

    /// The bytes, once `submission` is done, or everything submitted so far.
    pub async fn mapped(
        &self,
        mapping: Mapping,
        submission: Option<SubmissionIndex>,
    ) -> Result<Vec<u8>> {
        self.poll(submission)?;
        let mapped = mapping.mapped.await;
        self.check()?;
        match mapped {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return Err(self.fault(first_line(e))),
            Err(_) => return Err(self.silence()),
        }
        let bytes = match mapping.buffer.slice(..mapping.n_bytes).get_mapped_range() {
            Ok(view) => view.to_vec(),
            Err(e) => return Err(self.fault(first_line(e))),
        };
        mapping.buffer.unmap();
        Ok(bytes)
    }
}
