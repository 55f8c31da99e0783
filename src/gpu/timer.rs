//! Timestamps of the device.

use wgpu::{BufferUsages, QuerySet, QuerySetDescriptor, QueryType};

use super::device::Gpu;
use crate::error::Result;

/// Room for timestamps, and the way to read them.
pub struct Timer {
    sets: Vec<QuerySet>,
    resolved: wgpu::Buffer,
    staging: wgpu::Buffer,
    seconds_per_tick: f64,
}

/// WebGPU's limit for a query set.
const STAMPS_PER_SET: usize = wgpu::QUERY_SET_MAX_QUERIES as usize;

const STAMP_BYTES: usize = wgpu::QUERY_SIZE as usize;

impl Timer {
    /// Room for `n_stamps` timestamps. The device must have some (see [`Timestamps`](super::Timestamps)).
    pub fn new(gpu: &Gpu, n_stamps: usize) -> Self {
        let set = |n| {
            gpu.device.create_query_set(&QuerySetDescriptor {
                label: Some("timer"),
                ty: QueryType::Timestamp,
                count: n as u32,
            })
        };
        let firsts = (0..n_stamps).step_by(STAMPS_PER_SET);
        let sets = firsts.map(|first| set(STAMPS_PER_SET.min(n_stamps - first)));
        let n_bytes = (n_stamps * STAMP_BYTES) as u64;
        let (resolve, copy) = (BufferUsages::QUERY_RESOLVE, BufferUsages::COPY_SRC);
        let map = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
        Self {
            sets: sets.collect(),
            resolved: gpu.buffer("timestamps", n_bytes, resolve | copy),
            staging: gpu.buffer("timestamps staging", n_bytes, map),
            seconds_per_tick: f64::from(gpu.queue.get_timestamp_period()) * 1e-9,
        }
    }

    /// How many timestamps there is room for.
    pub fn n_stamps(&self) -> usize {
        self.staging.size() as usize / STAMP_BYTES
    }

    /// Writes timestamp `i` at this place of a pass.
    pub fn stamp(&self, pass: &mut wgpu::ComputePass<'_>, i: usize) {
        pass.write_timestamp(&self.sets[i / STAMPS_PER_SET], (i % STAMPS_PER_SET) as u32);
    }

    /// Timestamps `2 i` and `2 i + 1` at the beginning and the end of a pass.
    pub fn around(&self, i: usize) -> wgpu::ComputePassTimestampWrites<'_> {
        let first = (2 * i % STAMPS_PER_SET) as u32;
        wgpu::ComputePassTimestampWrites {
            query_set: &self.sets[2 * i / STAMPS_PER_SET],
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        }
    }

    /// Makes the first `n` timestamps readable once the encoder's commands have run.
    pub fn resolve(&self, encoder: &mut wgpu::CommandEncoder, n: usize) {
        for (i, set) in self.sets.iter().enumerate() {
            let first = i * STAMPS_PER_SET;
            let count = STAMPS_PER_SET.min(n.saturating_sub(first));
            if count > 0 {
                let at = (first * STAMP_BYTES) as u64;
                encoder.resolve_query_set(set, 0..count as u32, &self.resolved, at);
            }
        }
        let n_bytes = (n * STAMP_BYTES) as u64;
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.staging, 0, n_bytes);
    }

    /// The first `n` timestamps, in seconds from the first one.
    pub async fn read(&self, gpu: &Gpu, n: usize) -> Result<Vec<f64>> {
        let bytes = gpu.read(&self.staging, (n * STAMP_BYTES) as u64).await?;
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&bytes);
        let first = ticks.first().copied().unwrap_or(0);
        let seconds = |t: &u64| t.wrapping_sub(first) as i64 as f64 * self.seconds_per_tick;
        Ok(ticks.iter().map(seconds).collect())
    }
}
