//! Room for more positions: the caches made anew, layer by layer, with what they held.
//!
//! Batches under way keep what they were encoded with, and copies are queued after them.

use super::activations;
use super::buffers::Buffers;
use super::kv_cache::KvCache;
use super::sizes::Sizes;
use crate::error::Result;
use crate::gpu::{Gpu, Target};
use crate::model::config::Config;

/// Bytes of caches that are no longer needed before their memory is waited for.
const RELEASED_BYTES: u64 = 32 << 20;

/// The model whose caches they are, and where they lie.
#[derive(Clone, Copy)]
pub struct Caches<'a> {
    pub gpu: &'a Gpu,
    pub target: &'a Target,
    pub config: &'a Config,
    pub n_cycles: usize,
}

impl Caches<'_> {
    /// Gives the sequences of `buffers` the room that `sizes` says, whose other sizes are those of
    /// `buffers`. Positions that there is room for stay. Whoever has recorded passes from the
    /// buffers has let go of them.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) where the device has no memory for a layer, and the
    /// buffers are as before.
    pub async fn resize(self, buffers: &mut Buffers, sizes: Sizes) -> Result<()> {
        let before = buffers.sizes;
        // Scores are of one pass: there is nothing to copy.
        let attention = match self.target.uses_textures() {
            true => {
                let make = || activations::attention(self.gpu, self.target, self.config, sizes);
                Some(self.gpu.allocate("attention scores", make).await?)
            }
            // Parts of keys are split as of a full cache.
            false => None,
        };
        let mut released = 0;
        for layer in 0..buffers.kv.len() {
            let moved = self.resize_layer(buffers, layer, [before, sizes]).await;
            match moved {
                Ok(n_bytes) => released += n_bytes,
                Err(e) => {
                    // The layers before it go back, into the memory that they left.
                    self.gpu.wait().await?;
                    for layer in 0..layer {
                        self.resize_layer(buffers, layer, [sizes, before]).await?;
                    }
                    return Err(e);
                }
            }
            if released >= RELEASED_BYTES {
                self.gpu.wait().await?;
                released = 0;
            }
        }
        if let Some(attention) = attention {
            buffers.attention = attention;
        }
        buffers.sizes = sizes;
        Ok(())
    }

    /// Gives a layer other room; returns the bytes of memory that it no longer needs.
    async fn resize_layer(
        self,
        buffers: &mut Buffers,
        layer: usize,
        [before, sizes]: [Sizes; 2],
    ) -> Result<u64> {
        let Self {
            gpu,
            target,
            config,
            n_cycles,
        } = self;
        let make = || KvCache::new(gpu, target, config, layer, n_cycles, sizes);
        let new = gpu.allocate("key-value cache", make).await?;
        let old = &mut buffers.kv[layer];
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        new.copy_from(&mut encoder, config, (&*old, before), sizes);
        gpu.queue.submit([encoder.finish()]);
        let n_bytes = old.n_bytes();
        *old = new;
        Ok(n_bytes)
    }
}
