//! The calls of a pass as they are recorded, for measuring and for looking at.

use std::sync::Arc;

use crate::engine::memory::buffers::Buffers;
use crate::engine::memory::rows::OUTPUT_ROWS;
use crate::engine::memory::sizes::Sizes;
use crate::engine::pass::forward::Forward;
use crate::engine::pass::recorder::{DispatchSizes, Note, Recorder, Size};
use crate::engine::sampling::device::DeviceSampler;
use crate::engine::sampling::{Sampler, SamplingOptions};
use crate::engine::weights::device_model::DeviceModel;
use crate::error::Result;
use crate::gpu::{Call, Gpu, Kernel, Traffic};
use crate::kernels::{BatchKind, KvType};
use crate::model::config::{ExitRule, KvPolicy};
use crate::schedule::Schedule;

/// A dispatch of a pass.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub kernel: &'static Kernel,
    /// The values that its kernel's constants get.
    pub constants: Vec<(&'static str, u32)>,
    pub role: &'static str,
    /// Bytes and operations that it cannot avoid.
    pub moved: Traffic,
}

/// The dispatches of `model`'s pass without exits over `n_rows` rows that follow `depth` positions in
/// the cache, the last of which gets logits and a token drawn from them. Nothing is run.
pub fn recorded_pass(
    model: &Arc<DeviceModel>,
    n_rows: usize,
    depth: usize,
    kv_type: KvType,
) -> Result<Vec<Recorded>> {
    let gpu = &*model.gpu;
    let exit = ExitRule {
        threshold: None,
        ..ExitRule::default()
    };
    let schedule = Schedule::new(&model.config, model.pool.is_some(), None, exit)?;
    let buffers = buffers(model, &schedule, n_rows, depth, kv_type)?;
    let forward = forward(model, &schedule, &buffers);
    let sampler = Sampler::new(SamplingOptions::default(), &[]);
    let n_vocab = model.config.vocab;
    let sampler = DeviceSampler::new(gpu, &sampler, n_vocab, &buffers.logits, &buffers.ids);
    let sizes = DispatchSizes::new(gpu, schedule.n_cycles());
    let mut recorder = Recorder::new(model.weights.target.skip);
    forward.pass(&mut recorder, &sizes);
    sampler.record(&mut recorder);
    Ok(recorded(&recorder, n_rows, depth))
}

/// The dispatches that [`visit_cases`](super::cases::visit_cases) chooses from.
pub fn recorded_cases(
    model: &Arc<DeviceModel>,
    n_rows: usize,
    depth: usize,
    kv_type: KvType,
) -> Result<Vec<Recorded>> {
    let mut all = Vec::new();
    with_every_call(model, n_rows, depth, kv_type, &mut |_, recorder| {
        all = recorded(recorder, n_rows, depth);
        Ok(())
    })?;
    Ok(all)
}

fn recorded(recorder: &Recorder<'_>, n_rows: usize, depth: usize) -> Vec<Recorded> {
    let of_call = |(call, note): (&Call<'_>, &Note)| Recorded {
        kernel: call.kernel,
        constants: call.constants.clone(),
        role: note.role,
        moved: call.cost.over(depth..depth + rows_of(note, n_rows)),
    };
    recorder.calls().map(of_call).collect()
}

/// With a threshold, so that the kernels of rows that exit are among those that are recorded.
pub(super) fn schedule(model: &DeviceModel, kv: KvPolicy) -> Result<Schedule> {
    let exit = ExitRule {
        threshold: Some(0.5),
        kv,
        ..ExitRule::default()
    };
    Schedule::new(&model.config, model.pool.is_some(), None, exit)
}

fn buffers(
    model: &DeviceModel,
    schedule: &Schedule,
    n_rows: usize,
    depth: usize,
    kv_type: KvType,
) -> Result<Buffers> {
    let sizes = Sizes {
        n_ctx: depth + n_rows,
        n_sequences: 1,
        n_rows,
        n_outputs: 1,
        kv_type,
    };
    let target = &model.weights.target;
    Buffers::new(&model.gpu, target, &model.config, schedule, sizes)
}

fn forward<'a>(
    model: &'a DeviceModel,
    schedule: &'a Schedule,
    buffers: &'a Buffers,
) -> Forward<'a> {
    Forward {
        gpu: &model.gpu,
        config: &model.config,
        schedule,
        pool: model.pool.as_ref(),
        weights: &model.weights,
        buffers,
        kind: BatchKind::of(&model.weights.target, buffers.sizes.n_rows, true),
    }
}

/// Records every call that `model` can ask for, and some that it cannot, and hands it all over.
pub(super) fn with_every_call(
    model: &Arc<DeviceModel>,
    n_rows: usize,
    depth: usize,
    kv_type: KvType,
    visit: &mut dyn FnMut(&Buffers, &Recorder<'_>) -> Result<()>,
) -> Result<()> {
    let gpu = &*model.gpu;
    let schedules = [
        schedule(model, KvPolicy::Propagate)?,
        schedule(model, KvPolicy::Share)?,
    ];
    let buffers = buffers(model, &schedules[0], n_rows, depth, kv_type)?;
    let forwards = schedules
        .each_ref()
        .map(|schedule| forward(model, schedule, &buffers));
    let sampler = device_sampler(gpu, model, &buffers);
    let dispatch_sizes = DispatchSizes::new(gpu, schedules[0].n_cycles());
    let mut recorder = Recorder::new(model.weights.target.skip);
    for forward in &forwards {
        forward.pass(&mut recorder, &dispatch_sizes);
    }
    forwards[0].of_other_families(&mut recorder);
    sampler.record(&mut recorder);
    visit(&buffers, &recorder)
}

/// The rows of a dispatch: only the last row of a prompt gets logits.
pub(super) fn rows_of(note: &Note, n_rows: usize) -> usize {
    match note.size {
        Size::Counted(OUTPUT_ROWS) => 1,
        _ => n_rows,
    }
}

/// A sampler with the default options and a repeat penalty that has drawn one token, as each of
/// its kernels reads the output of the one before it.
fn device_sampler(gpu: &Gpu, model: &DeviceModel, buffers: &Buffers) -> DeviceSampler {
    let n_vocab = model.config.vocab;
    let options = SamplingOptions {
        repeat_penalty: 1.1,
        ..SamplingOptions::default()
    };
    let seen: Vec<u32> = (0..n_vocab as u32).take(64).collect();
    let sampler = Sampler::new(options, &seen);
    let sampler = DeviceSampler::new(gpu, &sampler, n_vocab, &buffers.logits, &buffers.ids);
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    sampler.encode(&mut encoder);
    gpu.queue.submit([encoder.finish()]);
    sampler
}
