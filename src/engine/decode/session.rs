//! Sequences on the device: their KV caches, and the scheduler that feeds the device batches.

use std::ops::RangeInclusive;
use std::sync::Arc;

use web_time::Instant;

use crate::engine::decode::batch::{Request, Results, Submitted};
use crate::engine::memory::buffers::Buffers;
use crate::engine::memory::rows::RowPosition;
use crate::engine::memory::sizes::Sizes;
use crate::engine::observe::profile::{Profile, Profiler};
use crate::engine::observe::work::{DeviceStats, moved};
use crate::engine::options::{Logits, Options};
use crate::engine::pass::forward::Forward;
use crate::engine::pass::recorder::Pass;
use crate::engine::sampling::Sampler;
use crate::engine::sampling::device::DeviceSampler;
use crate::engine::weights::device_model::DeviceModel;
use crate::error::Result;
use crate::gpu::{Gpu, Timestamps, Traffic};
use crate::kernels::BatchKind;
use crate::reference::Output;
use crate::schedule::Schedule;

/// Keys and values of one sequence or several, and the passes that extend them.
pub struct Session {
    model: Arc<DeviceModel>,
    schedule: Schedule,
    buffers: Buffers,
    /// Recorded when they are first needed.
    passes: Vec<(BatchKind, Pass)>,
    pub work: DeviceStats,
    profiler: Option<Profiler>,
}

/// The most products of a few-row batch (about a tenth of a second). Where kernels take long to
/// compile such a batch runs row by row, so that a short prompt needs no kernels of its own: a
/// software adapter compiles those for a second.
const FEW_PRODUCTS: u64 = 1 << 26;

/// Bounds of a few-row batch: the rows that are few even with more than [`FEW_PRODUCTS`], as a
/// tile of matrix times matrix takes no fewer, and the most rows that are ever few.
const FEW_ROWS: RangeInclusive<u64> = 2..=16;

impl Session {
    /// A session of one sequence.
    ///
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge) when the caches do not fit the adapter.
    pub fn new(model: Arc<DeviceModel>, schedule: Schedule, options: &Options) -> Result<Self> {
        let sizes = Sizes::of_one(options, model.config.vocab);
        Self::of_sizes(model, schedule, sizes)
    }

    /// A session of `n` sequences, each of which may get logits in a batch.
    ///
    /// # Errors
    /// Those of [`Session::new`].
    pub fn of_several(
        model: Arc<DeviceModel>,
        schedule: Schedule,
        options: &Options,
        n: usize,
    ) -> Result<Self> {
        let sizes = Sizes::of_several(options, n);
        Self::of_sizes(model, schedule, sizes)
    }

    fn of_sizes(model: Arc<DeviceModel>, schedule: Schedule, sizes: Sizes) -> Result<Self> {
        let buffers = Buffers::new(
            &model.gpu,
            &model.weights.target,
            &model.config,
            &schedule,
            sizes,
        )?;
        model.gpu.check()?;
        Ok(Self {
            model,
            schedule,
            buffers,
            passes: Vec::new(),
            work: DeviceStats::default(),
            profiler: None,
        })
    }

    /// Runs `ids` at positions `first_position` and after, in batches. With `draws`, a token is
    /// drawn from the last logits, and they stay on the device.
    pub async fn forward(
        &mut self,
        first_position: usize,
        ids: &[u32],
        logits: Logits,
        draws: Option<&DeviceSampler>,
    ) -> Result<Results> {
        let sizes = self.buffers.sizes;
        let rows = match logits {
            Logits::All => sizes.n_rows.min(sizes.n_outputs),
            Logits::Last if self.are_few(ids.len()) => 1,
            Logits::Last => sizes.n_rows,
        };
        let mut results = Results::default();
        for batch in ids.chunks(rows) {
            let n_done = results.outputs.len();
            let is_last = n_done + batch.len() == ids.len();
            let n = batch.len() as u32;
            let with_logits: Vec<u32> = match logits {
                Logits::All => (0..n).collect(),
                Logits::Last if is_last => vec![n - 1],
                Logits::Last => Vec::new(),
            };
            let request = Request {
                places: RowPosition::alone(first_position + n_done, batch.len()),
                ids: Some(batch),
                with_logits,
                draws: draws.filter(|_| is_last),
            };
            let Results { outputs, drawn } = self.run(request).await?;
            results.outputs.extend(outputs);
            results.drawn = drawn;
        }
        Ok(results)
    }

    /// Whether `n` rows are a few-row batch, which is better run row by row.
    fn are_few(&self, n: usize) -> bool {
        let c = &self.model.config;
        let a_layer = c.hidden * (2 * c.q_dim() + 2 * c.kv_dim() + 3 * c.intermediate);
        let a_row = self.schedule.steps().count() as u64 * a_layer as u64;
        let few = (FEW_PRODUCTS / a_row.max(1)).clamp(*FEW_ROWS.start(), *FEW_ROWS.end());
        self.model.weights.target.compiles_slowly() && n as u64 <= few
    }

    /// Runs tokens of several sequences in one batch: `places` says which sequence and position
    /// each belongs to; those `with_logits` get them.
    pub async fn forward_places(
        &mut self,
        places: Vec<RowPosition>,
        ids: &[u32],
        with_logits: Vec<u32>,
    ) -> Result<Vec<Output>> {
        let request = Request {
            places,
            ids: Some(ids),
            with_logits,
            draws: None,
        };
        Ok(self.run(request).await?.outputs)
    }

    /// Where position `position` of sequence `sequence` belongs.
    pub fn place(&self, sequence: usize, position: usize) -> RowPosition {
        RowPosition {
            position,
            cache_start: self.buffers.sizes.cache_start(sequence),
        }
    }

    /// Runs a batch and waits for it.
    async fn run(&mut self, request: Request<'_>) -> Result<Results> {
        let staging = self.buffers.staging.clone();
        let submitted = self.submit(request, &staging).await?;
        let bytes = match submitted.n_bytes {
            0 => Vec::new(),
            n => self.model.gpu.read(&staging, n).await?,
        };
        self.profile_pass(&submitted).await?;
        Ok(self.take(&submitted, &bytes))
    }

    /// A device sampler that draws from this session's logits and continues where `sampler` is.
    pub fn device_sampler(&self, sampler: &Sampler) -> DeviceSampler {
        let b = &self.buffers;
        let n_vocab = self.model.config.vocab;
        DeviceSampler::new(&self.model.gpu, sampler, n_vocab, &b.logits, &b.ids)
    }

    pub fn gpu(&self) -> &Gpu {
        &self.model.gpu
    }

    /// From now on, dispatches are timed one by one.
    pub fn start_profile(&mut self, timestamps: Timestamps) {
        self.profiler = Some(Profiler::new(timestamps));
    }

    /// The times taken since the profile was started or last taken; `None` without a profile.
    pub fn take_profile(&mut self) -> Option<Profile> {
        self.profiler.as_mut().map(Profiler::take)
    }

    pub fn is_profiled(&self) -> bool {
        self.profiler.is_some()
    }

    /// Submits one batch, all cycles included, at once. Its results are copied to `staging`.
    pub async fn submit(
        &mut self,
        request: Request<'_>,
        staging: &wgpu::Buffer,
    ) -> Result<Submitted> {
        let b = &self.buffers;
        let gpu = &self.model.gpu;
        let (n_rows, with_logits) = (request.places.len(), &request.with_logits);
        let n_progress = self.progress_words(n_rows);
        let rows = b.lists.host_part(&request.places, with_logits);
        if let Some(ids) = request.ids {
            gpu.queue.write_buffer(&b.ids, 0, bytemuck::cast_slice(ids));
        }
        gpu.queue
            .write_buffer(&b.rows, 0, bytemuck::cast_slice(&rows));
        let kind = request.kind(&self.model.weights.target);
        if pass_of(&self.passes, kind).is_none() {
            let forward = Forward {
                gpu,
                config: &self.model.config,
                schedule: &self.schedule,
                pool: self.model.pool.as_ref(),
                weights: &self.model.weights,
                buffers: b,
                kind,
            };
            self.passes.push((kind, forward.record()));
        }
        let pass = pass_of(&self.passes, kind).expect("recorded above");
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        let counts = [n_rows as u32, with_logits.len() as u32];
        let mut submitted = Instant::now();
        let mut n_dispatches = match &mut self.profiler {
            Some(profiler) => profiler.encode(gpu, pass, &mut encoder, &counts).await?,
            None => pass.plan.encode(&mut encoder, &counts),
        };
        let (answer, n_answer) = match request.draws {
            Some(sampler) => {
                n_dispatches += sampler.encode(&mut encoder);
                (&b.ids, 1)
            }
            None => (&b.logits, with_logits.len() * self.model.config.vocab),
        };
        let results = [(answer, n_answer), (&b.progress, n_progress)];
        let n_bytes = copy_words(&mut encoder, results, staging);
        let commands = encoder.finish();
        let one_by_one = self.profiler.as_ref().is_some_and(Profiler::is_one_by_one);
        if !one_by_one {
            submitted = Instant::now();
        }
        Ok(Submitted {
            index: gpu.queue.submit([commands]),
            at: submitted,
            n_bytes,
            kind,
            places: request.places,
            drawing: request.draws.map(|sampler| sampler.moved),
            with_logits: request.with_logits,
            n_answer,
            n_dispatches,
        })
    }

    fn progress_words(&self, n_rows: usize) -> usize {
        match self.schedule.has_scores {
            true => n_rows * (1 + self.schedule.n_cycles()),
            false => 0,
        }
    }

    /// Bytes of the result of a one-row pass where the device draws.
    pub fn step_bytes(&self) -> u64 {
        4 * (1 + self.progress_words(1)) as u64
    }

    /// Takes the times of a batch that has been read.
    async fn profile_pass(&mut self, submitted: &Submitted) -> Result<()> {
        let Some(mut profiler) = self.profiler.take() else {
            return Ok(());
        };
        if let Some(pass) = pass_of(&self.passes, submitted.kind) {
            let gpu = &self.model.gpu;
            profiler.collect(gpu, pass, submitted.at).await?;
        }
        self.profiler = Some(profiler);
        Ok(())
    }

    /// The results of a batch, from `bytes` of its staging buffer.
    pub fn take(&mut self, submitted: &Submitted, bytes: &[u8]) -> Results {
        let n_cycles = self.schedule.n_cycles();
        let mut outputs = vec![
            Output {
                cycles: n_cycles,
                ..Output::default()
            };
            submitted.places.len()
        ];
        let values: Vec<f32> = bytemuck::pod_collect_to_vec(bytes);
        let (answer, progress) = values.split_at(submitted.n_answer);
        let drawn = submitted.drawing.map(|_| answer[0].to_bits());
        if drawn.is_none() {
            let logits = answer.chunks(self.model.config.vocab);
            for (&row, logits) in submitted.with_logits.iter().zip(logits) {
                outputs[row as usize].logits = logits.to_vec();
            }
        }
        for (output, progress) in outputs.iter_mut().zip(progress.chunks(1 + n_cycles)) {
            output.cycles = progress[0] as usize;
            output.scores = progress[1..].to_vec();
        }
        self.count(submitted, &outputs);
        Results { outputs, drawn }
    }

    /// Counts a batch in the session's work.
    fn count(&mut self, submitted: &Submitted, outputs: &[Output]) {
        let (places, with_logits) = (&submitted.places, &submitted.with_logits);
        let pass = pass_of(&self.passes, submitted.kind);
        let mut moved = pass.map_or(Traffic::default(), |pass| {
            moved(pass, places, outputs, with_logits)
        });
        moved += submitted.drawing.unwrap_or_default();
        self.work.submissions += 1;
        self.work.dispatches += submitted.n_dispatches as u64;
        self.work.read_backs += u64::from(submitted.n_bytes > 0);
        self.work.moved += moved;
    }
}

fn pass_of(passes: &[(BatchKind, Pass)], kind: BatchKind) -> Option<&Pass> {
    let found = passes.iter().find(|(of, _)| *of == kind);
    found.map(|(_, pass)| pass)
}

/// Copies the first words of buffers to `staging`, one after the other. Returns their bytes.
fn copy_words(
    encoder: &mut wgpu::CommandEncoder,
    parts: [(&wgpu::Buffer, usize); 2],
    staging: &wgpu::Buffer,
) -> u64 {
    let mut at = 0;
    for (buffer, n_words) in parts.into_iter().filter(|(_, n_words)| *n_words > 0) {
        let n_bytes = 4 * n_words as u64;
        encoder.copy_buffer_to_buffer(buffer, 0, staging, at, n_bytes);
        at += n_bytes;
    }
    at
}
