//! Drawing tokens on the device, from logits that stay there.

use wgpu::BufferUsages;

use super::sampling::{KernelParams, Sampler};
use crate::gpu::Gpu;
use crate::gpu::plan::{Plan, Rows};
use crate::kernels::chunk_max::N_CHUNKS;
use crate::kernels::top_k::MAX_CANDIDATES;
use crate::kernels::{Call, Moved, chunk_max, draw, repeat_penalty, top_k};

/// The kernels that turn one row of logits into a token, with the state that they keep.
pub struct DeviceSampler {
    plan: Plan,
    /// What a draw cannot avoid moving.
    pub moved: Moved,
}

impl DeviceSampler {
    /// Goes on where `sampler` is. `logits` is f32 `[n_vocab]`, padded to whole quads; the token
    /// drawn, or [`NO_TOKEN`](draw::NO_TOKEN), is written to the first of `ids`.
    ///
    /// # Panics
    /// When the sampler's options do not
    /// [fit a device](super::sampling::SamplingOptions::fit_device).
    pub fn new(
        gpu: &Gpu,
        sampler: &Sampler,
        n_vocab: usize,
        logits: &wgpu::Buffer,
        ids: &wgpu::Buffer,
    ) -> Self {
        assert!(sampler.options().fit_device(n_vocab), "too many candidates");
        let maxima = gpu.storage("maxima", 4 * u64::from(N_CHUNKS));
        let candidates = gpu.storage("candidates", 8 * MAX_CANDIDATES as u64);
        let history = gpu.buffer_with("history", &sampler.history(), BufferUsages::STORAGE);
        let params: KernelParams = sampler.kernel_params(n_vocab);
        let penalty = params.repeat_penalty;
        let mut calls: Vec<Call<'_>> = penalty
            .map(|params| repeat_penalty::call(params, [&history, logits]))
            .into_iter()
            .collect();
        calls.push(chunk_max::call(params.chunk_max, [logits, &maxima]));
        calls.push(top_k::call(params.top_k, [logits, &maxima, &candidates]));
        calls.push(draw::call(params.draw, [&candidates, &history, ids]));
        let mut moved = Moved::default();
        for call in &calls {
            moved += call.cost.over([0]);
        }
        let calls: Vec<_> = calls.into_iter().map(|call| (call, Rows::One)).collect();
        let unused = gpu.buffer("indirect", 12, BufferUsages::INDIRECT);
        Self {
            plan: Plan::new(gpu, &calls, &unused),
            moved,
        }
    }

    /// Encodes one draw. Returns the number of dispatches.
    pub fn encode(&self, encoder: &mut wgpu::CommandEncoder) -> usize {
        self.plan.encode(encoder, &[])
    }
}
