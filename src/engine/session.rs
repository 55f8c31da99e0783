//! One sequence on the device: its caches, and the scheduler that feeds it batches.

use std::sync::Arc;
use std::time::Instant;

use super::buffers::{Buffers, Sizes};
use super::forward::{BATCH_ROWS, Forward};
use super::profile::{Profile, Profiler};
use super::recorder::{Note, Pass, Phase, Size};
use super::weights::Weights;
use super::{Logits, Options};
use crate::error::Result;
use crate::gpu::Gpu;
use crate::gpu::timer::Timestamps;
use crate::kernels::Moved;
use crate::kernels::linear::Batch;
use crate::model::Model;
use crate::model::config::Config;
use crate::model::weights::Pool;
use crate::reference::Output;
use crate::schedule::Schedule;

/// A model's weights on an adapter, ready for any number of sessions.
pub struct DeviceModel {
    pub gpu: Arc<Gpu>,
    pub(super) weights: Weights,
    pub(super) config: Config,
    pub(super) pool: Option<Pool>,
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
    /// What the kernels could not avoid; see [`Cost`](crate::kernels::Cost).
    pub moved: Moved,
}

impl Work {
    /// What was asked since `before`.
    pub fn since(&self, before: &Work) -> Work {
        Work {
            submissions: self.submissions - before.submissions,
            dispatches: self.dispatches - before.dispatches,
            read_backs: self.read_backs - before.read_backs,
            moved: Moved {
                read: self.moved.read - before.moved.read,
                written: self.moved.written - before.moved.written,
                flops: self.moved.flops - before.moved.flops,
            },
        }
    }
}

/// Keys and values of one sequence, and the passes that extend it.
pub struct Session {
    model: Arc<DeviceModel>,
    schedule: Schedule,
    buffers: Buffers,
    decode: Option<Pass>,
    prefill: Option<Pass>,
    pub work: Work,
    profiler: Option<Profiler>,
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
        let buffers = Buffers::new(
            &model.gpu,
            model.weights.kernels,
            &model.config,
            &schedule,
            sizes,
        )?;
        model.gpu.check()?;
        Ok(Self {
            model,
            schedule,
            buffers,
            decode: None,
            prefill: None,
            work: Work::default(),
            profiler: None,
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
            let submitted = self.submit(first, batch, &with_logits)?;
            let read = self.read(batch.len(), &with_logits).await?;
            self.profile_pass(batch.len(), submitted).await?;
            self.count_moved(first, &read, &with_logits);
            outputs.extend(read);
        }
        Ok(outputs)
    }

    pub fn gpu(&self) -> &Gpu {
        &self.model.gpu
    }

    /// From now on, dispatches are timed one by one.
    pub fn start_profile(&mut self, timestamps: Timestamps) {
        self.profiler = Some(Profiler::new(timestamps));
    }

    /// What was timed since the profile was started or taken.
    pub fn take_profile(&mut self) -> Option<Profile> {
        self.profiler.as_mut().map(Profiler::take)
    }

    /// One batch, all cycles included, in one submission. Returns when it was submitted.
    fn submit(
        &mut self,
        first_position: usize,
        ids: &[u32],
        with_logits: &[u32],
    ) -> Result<Instant> {
        let b = &self.buffers;
        let gpu = &self.model.gpu;
        let rows = b.lists.host_part(first_position, ids.len(), with_logits);
        gpu.queue.write_buffer(&b.ids, 0, bytemuck::cast_slice(ids));
        gpu.queue
            .write_buffer(&b.rows, 0, bytemuck::cast_slice(&rows));
        let (batch, pass) = match ids.len() {
            1 => (Batch::One, &mut self.decode),
            _ => (Batch::Many, &mut self.prefill),
        };
        let pass = pass.get_or_insert_with(|| {
            let forward = Forward {
                gpu,
                config: &self.model.config,
                schedule: &self.schedule,
                pool: self.model.pool.as_ref(),
                weights: &self.model.weights,
                buffers: b,
                batch,
            };
            forward.record()
        });
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        let counts = [ids.len() as u32, with_logits.len() as u32];
        let mut submitted = Instant::now();
        let n_dispatches = match &mut self.profiler {
            Some(profiler) => profiler.encode(gpu, pass, &mut encoder, &counts)?,
            None => pass.plan.encode(&mut encoder, &counts),
        };
        let (logits_bytes, progress_bytes) = self.read_bytes(ids.len(), with_logits.len());
        let mut copy = |from: &wgpu::Buffer, at: u64, n_bytes: u64| {
            if n_bytes > 0 {
                encoder.copy_buffer_to_buffer(from, 0, &b.staging, at, n_bytes);
            }
        };
        copy(&b.logits, 0, logits_bytes);
        copy(&b.progress, logits_bytes, progress_bytes);
        let commands = encoder.finish();
        let one_by_one = self.profiler.as_ref().is_some_and(Profiler::is_one_by_one);
        if !one_by_one {
            submitted = Instant::now();
        }
        gpu.queue.submit([commands]);
        self.work.submissions += 1;
        self.work.dispatches += n_dispatches as u64;
        Ok(submitted)
    }

    fn pass(&self, n_rows: usize) -> Option<&Pass> {
        match n_rows {
            1 => self.decode.as_ref(),
            _ => self.prefill.as_ref(),
        }
    }

    /// Takes the times of the batch that was submitted at this time and has been read.
    async fn profile_pass(&mut self, n_rows: usize, submitted: Instant) -> Result<()> {
        let Some(mut profiler) = self.profiler.take() else {
            return Ok(());
        };
        if let Some(pass) = self.pass(n_rows) {
            profiler.collect(&self.model.gpu, pass, submitted).await?;
        }
        self.profiler = Some(profiler);
        Ok(())
    }

    /// Adds what the batch could not avoid moving, now that it is known who left when.
    fn count_moved(&mut self, first_position: usize, outputs: &[Output], with_logits: &[u32]) {
        let Some(pass) = self.pass(outputs.len()) else {
            return;
        };
        let mut moved = Moved::default();
        for note in &pass.notes {
            let positions = (0..outputs.len())
                .filter(|&row| takes_part(note, row, &outputs[row], with_logits))
                .map(|row| first_position + row);
            moved += note.cost.over(positions);
        }
        self.work.moved += moved;
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

/// Whether a row that came to `output` is among those of a dispatch.
fn takes_part(note: &Note, row: usize, output: &Output, with_logits: &[u32]) -> bool {
    let cycle = match note.phase {
        Phase::Cycle(cycle) => cycle,
        _ => 0,
    };
    match note.size {
        Size::Counted(BATCH_ROWS) => true,
        Size::Counted(_) => with_logits.contains(&(row as u32)),
        Size::Staying => output.cycles > cycle,
        Size::Leaving => output.cycles == cycle + 1,
    }
}
