//! Sequences on the device: their KV caches, and the batches that extend them.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;

use web_time::Instant;

use super::batch::{Batch, OutputRows, Stage, Submitted, segments};
use super::executor::{Executor, PlacedRow, Running};
use super::kept::Kept;
use super::results::Results;
use super::segments::{Segment, Segments};
use super::stages::stages;
use super::staging::Staging;
use crate::engine::drafts::Cuts;
use crate::engine::memory::buffers::Buffers;
use crate::engine::memory::growth::Caches;
use crate::engine::memory::layout::padded;
use crate::engine::memory::sizes::Sizes;
use crate::engine::observe::profile::{Profile, Profiler};
use crate::engine::observe::work::{DeviceStats, moved};
use crate::engine::options::{Logits, Options};
use crate::engine::pass::forward::Forward;
use crate::engine::sampling::device::{Changes, DeviceSampler};
use crate::engine::sampling::{Sampler, SamplingOptions};
use crate::engine::weights::device_model::DeviceModel;
use crate::error::Result;
use crate::gpu::{Gpu, Timestamps};
use crate::kernels::BatchKind;
use crate::model::config::KvPolicy;
use crate::reference::Output;
use crate::schedule::Walk;

/// Keys and values of sequences, and the batches that extend them.
pub struct Session {
    model: Arc<DeviceModel>,
    walk: Walk,
    buffers: Buffers,
    sampler: DeviceSampler,
    /// What the kernels of drawing have to do besides, by sequence.
    changes: Vec<Changes>,
    segments: Segments,
    /// Of drafts by depth, where there are any.
    drafting: Option<(Cuts, Kept)>,
    staging: Staging,
    under_way: VecDeque<Submitted>,
    /// Batches under way at a time where the host does not wait for each.
    pub ahead: usize,
    pub work: DeviceStats,
    profiler: Option<Profiler>,
}

/// Batches under way where the host does not wait for each: one that runs, and two that wait while
/// the host is busy.
const AHEAD: usize = 3;

/// The same on a software adapter, whose threads need the host's cores: a host that encodes the
/// next batch meanwhile takes one from them in the middle of a dispatch.
const AHEAD_ON_SOFTWARE: usize = 1;

/// The most products of a few-row batch (about a tenth of a second). Where kernels take long to
/// compile such a batch runs row by row, so that a short prompt needs no kernels of its own: a
/// software adapter compiles those for a second.
const FEW_PRODUCTS: u64 = 1 << 26;

/// Bounds of a few-row batch: the rows that are few even with more than [`FEW_PRODUCTS`], as a
/// tile of matrix times matrix takes no fewer, and the most rows that are ever few.
const FEW_ROWS: RangeInclusive<u64> = 2..=16;

impl Session {
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge) when the caches do not fit the adapter.
    pub fn new(
        model: Arc<DeviceModel>,
        walk: Walk,
        cuts: Option<Cuts>,
        options: &Options,
    ) -> Result<Self> {
        let (gpu, config) = (&model.gpu, &model.config);
        let sizes = Sizes::of(options, config.vocab);
        let buffers = Buffers::new(gpu, &model.weights.target, config, &walk, sizes)?;
        let stride = padded(config.vocab);
        let n_sequences = options.n_sequences;
        let sampler = DeviceSampler::new(gpu, n_sequences, sizes.n_outputs, config.vocab, stride);
        let kept = |cuts| (cuts, Kept::new(gpu, &buffers, config.hidden, walk.n_cycles));
        let drafting = cuts.map(kept);
        gpu.check()?;
        let ahead = match gpu.is_software() {
            true => AHEAD_ON_SOFTWARE,
            false => AHEAD,
        };
        Ok(Self {
            model,
            walk,
            buffers,
            sampler,
            changes: vec![Changes::default(); n_sequences],
            segments: Segments::default(),
            drafting,
            staging: Staging::default(),
            under_way: VecDeque::new(),
            ahead,
            work: DeviceStats::default(),
            profiler: None,
        })
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

    /// Whether `n` rows are a few-row batch, which is better run row by row.
    fn are_few(&self, n: usize) -> bool {
        let c = &self.model.config;
        let a_layer = c.hidden * (2 * c.q_dim() + 2 * c.kv_dim() + 3 * c.intermediate);
        let a_row = self.walk.layers().count() as u64 * a_layer as u64;
        let few = (FEW_PRODUCTS / a_row.max(1)).clamp(*FEW_ROWS.start(), *FEW_ROWS.end());
        self.model.weights.target.compiles_slowly() && n as u64 <= few
    }

    /// Writes the rows of a batch, records what is not recorded yet, and submits it all at once.
    async fn submit_rows(&mut self, rows: Vec<PlacedRow>) -> Result<()> {
        let n_cycles = self.walk.n_cycles;
        let exits = rows.iter().any(|row| row.place.rule.may_leave(n_cycles));
        let stages = match &self.drafting {
            Some((cuts, _)) if rows.iter().any(PlacedRow::is_drafted) => {
                stages(cuts, &rows, |rows| self.changes_of(rows))
            }
            _ => vec![self.one_stage(&rows, exits)],
        };
        let target = &self.model.weights.target;
        let batches = stages.into_iter();
        let batches: Vec<Batch> = batches.map(|s| Batch::of(target, s, exits)).collect();
        for batch in &batches {
            for segment in &batch.segments {
                self.record(segment, batch.kinds.of_segment(segment));
            }
        }
        self.write(&batches);
        self.write_guesses(&rows);
        let submitted = self.encode(batches, rows.len()).await?;
        self.under_way.push_back(submitted);
        Ok(())
    }

    /// All rows at once.
    fn one_stage(&self, rows: &[PlacedRow], exits: bool) -> Stage {
        let segments = segments(
            rows,
            &OutputRows::of(rows),
            self.walk.steps.len(),
            exits.then_some(self.walk.kv),
            self.changes_of(rows),
        );
        Stage {
            rows: rows.to_vec(),
            of_rows: (0..rows.len()).collect(),
            segments,
            is_draft: false,
        }
    }

    /// What drawing the tokens that rows want has to do besides.
    fn changes_of(&self, rows: &[PlacedRow]) -> Changes {
        let drawing = rows.iter().filter(|row| row.wants.token);
        let changes = drawing.map(|row| self.changes[row.place.sequence]);
        changes.fold(Changes::default(), Changes::or)
    }

    /// Gives the sequences other room.
    async fn resize(&mut self, sizes: Sizes) -> Result<()> {
        if sizes.room == self.buffers.sizes.room {
            return Ok(());
        }
        // Recorded passes hold the caches that they were recorded with.
        self.segments = Segments::default();
        let caches = Caches {
            gpu: &self.model.gpu,
            target: &self.model.weights.target,
            config: &self.model.config,
            n_cycles: self.walk.n_cycles,
        };
        caches.resize(&mut self.buffers, sizes).await
    }

    fn record(&mut self, segment: &Segment, kind: BatchKind) {
        let (model, b) = (&self.model, &self.buffers);
        let forward = Forward {
            config: &model.config,
            walk: &self.walk,
            pool: model.pool.as_ref(),
            weights: &model.weights,
            buffers: b,
            kind,
            exits: false,
        };
        self.segments
            .record(&model.gpu, segment, &self.sampler, forward);
    }

    fn write(&self, batches: &[Batch]) {
        let (b, gpu) = (&self.buffers, &self.model.gpu);
        match (batches, &self.drafting) {
            ([batch], _) => {
                let rows = b.lists.host_part(&batch.places, &batch.outputs.rows);
                let queue = &gpu.queue;
                queue.write_buffer(&b.ids, 0, bytemuck::cast_slice(&batch.ids));
                queue.write_buffer(&b.rows, 0, bytemuck::cast_slice(&rows));
            }
            (stages, Some((_, kept))) => kept.write(gpu, b, stages),
            (_, None) => {}
        }
    }

    /// Puts guesses into the history: the rows after them draw as if they were true, and drawing
    /// puts what is drawn into their places.
    fn write_guesses(&self, rows: &[PlacedRow]) {
        for row in rows.iter().filter(|row| row.is_guess) {
            if let Some(id) = row.id {
                let (sequence, place) = (row.place.sequence, row.place.in_text());
                self.sampler.set_token(&self.model.gpu, sequence, place, id);
            }
        }
    }

    /// Submits the segments of batches at once, with copies of their results.
    async fn encode(&mut self, batches: Vec<Batch>, n_rows: usize) -> Result<Submitted> {
        let (gpu, b) = (&self.model.gpu, &self.buffers);
        let results = Results::of(&self.model.config, &self.walk);
        let stride = padded(self.model.config.vocab);
        let n_words = results.n_words(&batches);
        let mut filling = (n_words > 0).then(|| self.staging.open(gpu, n_words));
        let new_encoder = || gpu.device.create_command_encoder(&Default::default());
        let mut encoder = new_encoder();
        let one_by_one = self.profiler.as_ref().is_some_and(Profiler::is_one_by_one);
        // A copy may not wait where dispatches do not.
        let flush = |encoder: &mut wgpu::CommandEncoder| {
            if one_by_one {
                let copied = std::mem::replace(encoder, new_encoder());
                gpu.queue.submit([copied.finish()]);
            }
        };
        let mut at = Instant::now();
        let mut n_dispatches = 0;
        for (stage, batch) in batches.iter().enumerate() {
            let outputs = &batch.outputs;
            let counts = [batch.places.len(), outputs.len(), outputs.n_draws].map(|n| n as u32);
            let kept = self.drafting.as_ref().map(|(_, kept)| kept);
            if let Some(kept) = kept.filter(|_| batches.len() > 1) {
                kept.begin_stage(&mut encoder, b, stage);
                flush(&mut encoder);
            }
            for segment in &batch.segments {
                let n = batch.places.len();
                if kept.is_some_and(|kept| kept.encode(&mut encoder, b, segment, n)) {
                    flush(&mut encoder);
                    continue;
                }
                let pass = self.segments.get(segment, batch.kinds.of_segment(segment));
                let pass = pass.expect("recorded before");
                n_dispatches += match &mut self.profiler {
                    Some(profiler) => profiler.encode(gpu, pass, &mut encoder, &counts).await?,
                    None => pass.plan.encode(&mut encoder, &counts),
                };
                // Drawing changes logits, which are wanted as they are.
                if let (Segment::Logits, Some(filling)) = (segment, &mut filling) {
                    let (first, n) = (outputs.first_read * stride, outputs.n_read() * stride);
                    filling.copy(&mut encoder, &b.logits, first, n);
                    if n > 0 {
                        flush(&mut encoder);
                    }
                }
            }
            if let Some(filling) = &mut filling {
                filling.copy(&mut encoder, &self.sampler.drawn, 0, outputs.n_draws);
                filling.copy(&mut encoder, &b.progress, 0, results.progress_words(batch));
                flush(&mut encoder);
            }
        }
        if !one_by_one {
            at = Instant::now();
        }
        Ok(Submitted {
            index: gpu.queue.submit([encoder.finish()]),
            staged: filling.map(|filling| filling.read(gpu)),
            at,
            batches,
            n_rows,
            n_dispatches,
        })
    }

    /// Waits for the oldest batch and takes its results.
    async fn take_results(&mut self) -> Result<Vec<Output>> {
        let Some(submitted) = self.under_way.pop_front() else {
            return Ok(Vec::new());
        };
        let gpu = &self.model.gpu;
        let was_read = submitted.staged.is_some();
        let bytes = match submitted.staged {
            Some(staged) => self.staging.bytes(gpu, staged, submitted.index).await?,
            None => Vec::new(),
        };
        if let Some(profiler) = &mut self.profiler {
            profiler.collect(gpu, submitted.at).await?;
        }
        let results = Results::of(&self.model.config, &self.walk);
        let outputs = results.outputs(&submitted.batches, &bytes, submitted.n_rows);
        for batch in &submitted.batches {
            self.count(batch, &outputs);
        }
        self.work.submissions += 1;
        self.work.dispatches += submitted.n_dispatches as u64;
        self.work.read_backs += u64::from(was_read);
        Ok(outputs)
    }

    /// Counts the bytes and operations of a batch in the session's work.
    fn count(&mut self, batch: &Batch, outputs: &[Output]) {
        // Their depths are all that counts.
        let depths = batch.of_rows.iter().map(|&row| Output {
            cycles: outputs[row].cycles,
            ..Output::default()
        });
        let outputs: Vec<Output> = depths.collect();
        for segment in &batch.segments {
            // The caches may have grown since, with the notes of a pass as they were.
            self.record(segment, batch.kinds.of_segment(segment));
            if let Some(pass) = self.segments.get(segment, batch.kinds.of_segment(segment)) {
                let rows = &batch.outputs;
                self.work.moved += moved(pass, &batch.places, &outputs, &rows.rows, rows.n_draws);
            }
        }
    }
}

impl Executor for Session {
    fn rows_at_once(&self, n: usize, logits: Logits) -> usize {
        let sizes = self.buffers.sizes;
        match logits {
            Logits::All => sizes.n_rows.min(sizes.n_outputs),
            Logits::Last if self.are_few(n) => 1,
            Logits::Last => sizes.n_rows,
        }
    }

    fn ahead(&self) -> usize {
        // A profile is of batches that are waited for.
        match self.profiler {
            Some(_) => 1,
            None => self.ahead,
        }
    }

    fn draws(&self, options: &SamplingOptions) -> bool {
        !options.on_host && options.fit_device(self.model.config.vocab)
    }

    fn set_sampler(&mut self, sequence: usize, sampler: &Sampler) {
        let rule = self.sampler.set(&self.model.gpu, sequence, sampler);
        self.changes[sequence] = Changes::of(&rule);
    }

    fn set_kv_policy(&mut self, kv: KvPolicy) {
        self.walk.kv = kv;
    }

    fn truncate(&mut self, _: usize, _: usize) {
        // Rows of the cache past the newest position are never read.
    }

    fn reserve(&mut self, n: usize) -> Running<'_, usize> {
        let sizes = self.buffers.sizes.with_room_for(n);
        Box::pin(async move {
            self.resize(sizes).await?;
            Ok(sizes.room)
        })
    }

    fn set_room(&mut self, n: usize) -> Running<'_, ()> {
        let sizes = Sizes {
            room: n,
            ..self.buffers.sizes
        };
        Box::pin(self.resize(sizes))
    }

    fn submit<'a>(&'a mut self, rows: Vec<PlacedRow>) -> Running<'a, ()> {
        Box::pin(self.submit_rows(rows))
    }

    fn take(&mut self) -> Running<'_, Vec<Output>> {
        Box::pin(self.take_results())
    }

    fn forget(&mut self) {
        self.under_way.clear();
    }
}
