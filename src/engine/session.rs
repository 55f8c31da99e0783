//! One sequence on the device: its caches, and the scheduler that feeds it batches.

use std::sync::Arc;

use super::buffers::{Buffers, Sizes};
use super::forward::Forward;
use super::weights::Weights;
use super::{Logits, Options};
use crate::error::Result;
use crate::gpu::Gpu;
use crate::gpu::plan::Plan;
use crate::kernels::linear::Batch;
use crate::model::Model;
use crate::model::config::Config;
use crate::model::weights::Pool;
use crate::reference::Output;
use crate::schedule::Schedule;

/// A model's weights on an adapter, ready for any number of sessions.
pub struct DeviceModel {
    pub gpu: Arc<Gpu>,
    weights: Weights,
    config: Config,
    pool: Option<Pool>,
}

impl DeviceModel {
    /// Uploads the weights of `model`. `progress` gets the bytes written so far.
    pub fn upload(gpu: Arc<Gpu>, model: &Model, progress: &mut dyn FnMut(u64)) -> Result<Self> {
        Ok(Self {
            weights: Weights::upload(&gpu, model, progress)?,
            config: model.config.clone(),
            pool: model.pool.clone(),
            gpu,
        })
    }
}

/// What the host has asked of the device so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    pub submissions: u64,
    pub dispatches: u64,
    pub read_backs: u64,
}

/// Keys and values of one sequence, and the passes that extend it.
pub struct Session {
    model: Arc<DeviceModel>,
    schedule: Schedule,
    buffers: Buffers,
    decode: Option<Plan>,
    prefill: Option<Plan>,
    pub work: Work,
}

/// Rows of a prompt that one submission computes.
const PROMPT_ROWS: usize = 128;

/// Memory for logits is kept below this, by giving logits to fewer rows at a time.
const MAX_LOGITS_BYTES: usize = 64 << 20;

impl Session {
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge) when the caches do not fit the adapter.
    pub fn new(model: Arc<DeviceModel>, schedule: Schedule, options: &Options) -> Result<Self> {
        let most = (MAX_LOGITS_BYTES / 4 / model.config.vocab).max(1);
        let n_rows = PROMPT_ROWS.min(options.n_ctx);
        let sizes = Sizes {
            n_ctx: options.n_ctx,
            n_rows,
            n_outputs: match options.logits {
                Logits::All => n_rows.min(most),
                Logits::Last => 1,
            },
            kv_type: options.kv_type,
        };
        let buffers = Buffers::new(&model.gpu, &model.config, &schedule, sizes)?;
        model.gpu.check()?;
        Ok(Self {
            model,
            schedule,
            buffers,
            decode: None,
            prefill: None,
            work: Work::default(),
        })
    }

    /// Runs `ids` at positions `first_position` and after, in batches.
    pub async fn forward(
        &mut self,
        first_position: usize,
        ids: &[u32],
        logits: Logits,
    ) -> Result<Vec<Output>> {
        let sizes = self.buffers.sizes;
        let rows = match logits {
            Logits::All => sizes.n_rows.min(sizes.n_outputs),
            Logits::Last => sizes.n_rows,
        };
        let mut outputs = Vec::with_capacity(ids.len());
        for batch in ids.chunks(rows) {
            let first = first_position + outputs.len();
            let is_last = outputs.len() + batch.len() == ids.len();
            let n = batch.len() as u32;
            let with_logits: Vec<u32> = match logits {
                Logits::All => (0..n).collect(),
                Logits::Last if is_last => vec![n - 1],
                Logits::Last => Vec::new(),
            };
            self.submit(first, batch, &with_logits);
            outputs.extend(self.read(batch.len(), &with_logits).await?);
        }
        Ok(outputs)
    }

    /// One batch, all cycles included, in one submission.
    fn submit(&mut self, first_position: usize, ids: &[u32], with_logits: &[u32]) {
        let b = &self.buffers;
        let gpu = &self.model.gpu;
        let rows = b.lists.host_part(first_position, ids.len(), with_logits);
        gpu.queue.write_buffer(&b.ids, 0, bytemuck::cast_slice(ids));
        gpu.queue
            .write_buffer(&b.rows, 0, bytemuck::cast_slice(&rows));
        let (batch, plan) = match ids.len() {
            1 => (Batch::One, &mut self.decode),
            _ => (Batch::Many, &mut self.prefill),
        };
        let plan = plan.get_or_insert_with(|| {
            let forward = Forward {
                gpu,
                config: &self.model.config,
                schedule: &self.schedule,
                pool: self.model.pool.as_ref(),
                weights: &self.model.weights,
                buffers: b,
                batch,
            };
            forward.plan()
        });
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        let counts = [ids.len() as u32, with_logits.len() as u32];
        let n_dispatches = plan.encode(&mut encoder, &counts);
        let (logits_bytes, progress_bytes) = self.read_bytes(ids.len(), with_logits.len());
        let mut copy = |from: &wgpu::Buffer, at: u64, n_bytes: u64| {
            if n_bytes > 0 {
                encoder.copy_buffer_to_buffer(from, 0, &b.staging, at, n_bytes);
            }
        };
        copy(&b.logits, 0, logits_bytes);
        copy(&b.progress, logits_bytes, progress_bytes);
        gpu.queue.submit([encoder.finish()]);
        self.work.submissions += 1;
        self.work.dispatches += n_dispatches as u64;
    }

    /// Bytes of logits and of progress that a batch leaves.
    fn read_bytes(&self, n_rows: usize, n_logits: usize) -> (u64, u64) {
        let progress = match self.schedule.has_scores {
            true => n_rows * (1 + self.schedule.n_cycles()),
            false => 0,
        };
        let logits = n_logits * self.model.config.vocab;
        (4 * logits as u64, 4 * progress as u64)
    }

    /// What the batch just submitted came to.
    async fn read(&mut self, n_rows: usize, with_logits: &[u32]) -> Result<Vec<Output>> {
        let n_cycles = self.schedule.n_cycles();
        let (logits_bytes, progress_bytes) = self.read_bytes(n_rows, with_logits.len());
        let mut outputs = vec![
            Output {
                cycles: n_cycles,
                ..Output::default()
            };
            n_rows
        ];
        let n_bytes = logits_bytes + progress_bytes;
        if n_bytes == 0 {
            return Ok(outputs);
        }
        let bytes = self.model.gpu.read(&self.buffers.staging, n_bytes).await?;
        self.work.read_backs += 1;
        let values: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes);
        let (logits, progress) = values.split_at((logits_bytes / 4) as usize);
        let logits = logits.chunks(self.model.config.vocab);
        for (&row, logits) in with_logits.iter().zip(logits) {
            outputs[row as usize].logits = logits.to_vec();
        }
        for (output, progress) in outputs.iter_mut().zip(progress.chunks(1 + n_cycles)) {
            output.cycles = progress[0] as usize;
            output.scores = progress[1..].to_vec();
        }
        Ok(outputs)
    }
}
