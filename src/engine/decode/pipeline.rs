//! Passes of a generation, submitted ahead of the host.
//!
//! The device draws each token and feeds it to the next pass itself, so the host need not have
//! read a token to ask for the one after it. The result of a pass is read from a small buffer of
//! its own. Passes that nobody takes are forgotten: the keys and values that they wrote lie past
//! the end of the KV cache.

use std::collections::VecDeque;

use wgpu::BufferUsages;

use crate::engine::decode::batch::{Request, Results, Submitted};
use crate::engine::decode::session::Session;
use crate::engine::memory::rows::RowPosition;
use crate::engine::sampling::device::DeviceSampler;
use crate::error::Result;
use crate::gpu::read_back::Mapping;

/// Passes under way at most: one that runs, and two that wait while the host is busy.
const DEPTH: usize = 3;

/// The passes, in order.
pub struct PassPipeline {
    sampler: DeviceSampler,
    in_flight: VecDeque<Pending>,
    /// Staging buffers that are not in use.
    idle: Vec<wgpu::Buffer>,
    next_position: usize,
    /// No pass is submitted ahead for this position or a later one.
    end: usize,
}

/// A submitted pass, and the mapping that its result is read from.
type Pending = (Submitted, Mapping);

impl PassPipeline {
    /// Passes from `first_position` on, each of which feeds the token that `sampler` drew last and
    /// draws the next. Those up to `end - 1` are surely wanted, unless the text ends before.
    pub fn new(sampler: DeviceSampler, first_position: usize, end: usize) -> Self {
        Self {
            sampler,
            in_flight: VecDeque::with_capacity(DEPTH),
            idle: Vec::with_capacity(DEPTH),
            next_position: first_position,
            end,
        }
    }

    /// Takes the results of the next pass.
    pub async fn next(&mut self, session: &mut Session) -> Result<Results> {
        let (submitted, mapping) = match self.in_flight.pop_front() {
            Some(pending) => pending,
            None => self.submit(session).await?,
        };
        while self.in_flight.len() + 1 < DEPTH && self.next_position < self.end {
            let pending = self.submit(session).await?;
            self.in_flight.push_back(pending);
        }
        let staging = mapping.buffer.clone();
        let index = submitted.index.clone();
        let bytes = session.gpu().mapped(mapping, Some(index)).await?;
        self.idle.push(staging);
        Ok(session.take(&submitted, &bytes))
    }

    async fn submit(&mut self, session: &mut Session) -> Result<Pending> {
        let staging = self.idle.pop().unwrap_or_else(|| {
            let usage = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
            let n_bytes = session.step_bytes();
            session.gpu().buffer("staging", n_bytes, usage)
        });
        let request = Request {
            places: RowPosition::alone(self.next_position, 1),
            ids: None,
            with_logits: vec![0],
            draws: Some(&self.sampler),
        };
        let submitted = session.submit(request, &staging).await?;
        let mapping = session.gpu().map(&staging, submitted.n_bytes);
        self.next_position += 1;
        Ok((submitted, mapping))
    }
}
