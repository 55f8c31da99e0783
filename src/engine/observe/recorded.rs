//! The calls of a pass as they are recorded, for measuring and for looking at.

use std::sync::Arc;

use crate::engine::memory::buffers::Buffers;
use crate::engine::memory::layout::padded;
use crate::engine::memory::rows::{DRAW_ROWS, OUTPUT_ROWS, Place};
use crate::engine::memory::sizes::Sizes;
use crate::engine::pass::forward::Forward;
use crate::engine::pass::recorder::{DispatchSizes, Note, Recorder, Size};
use crate::engine::sampling::device::{Changes, DeviceSampler, Inputs};
use crate::engine::sampling::{Sampler, SamplingOptions};
use crate::engine::weights::device_model::DeviceModel;
use crate::error::Result;
use crate::gpu::{Call, Gpu, Kernel, Traffic};
use crate::kernels::{BatchKind, KvType};
use crate::model::config::{ExitRule, KvPolicy};
use crate::schedule::Walk;

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
    let walk = walk(model, KvPolicy::Propagate)?;
    let buffers = buffers(model, &walk, n_rows, depth, kv_type)?;
    let forward = forward(model, &walk, &buffers, false);
    let of_one = of_one_row(&forward);
    let sampler = device_sampler(gpu, model, &SamplingOptions::default());
    let sizes = DispatchSizes::new(gpu, 0);
    let mut recorder = Recorder::new(model.weights.target.skip);
    forward.pass(&mut recorder, &sizes);
    of_one.logits(&mut recorder);
    sampler.record_draw(&mut recorder, Changes::default(), inputs(&buffers));
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

pub(super) fn walk(model: &DeviceModel, kv: KvPolicy) -> Result<Walk> {
    let exit = ExitRule {
        kv,
        ..ExitRule::default()
    };
    Walk::new(&model.config, None, &exit)
}

fn buffers(
    model: &DeviceModel,
    walk: &Walk,
    n_rows: usize,
    depth: usize,
    kv_type: KvType,
) -> Result<Buffers> {
    let sizes = Sizes {
        n_ctx: depth + n_rows,
        room: depth + n_rows,
        n_sequences: 1,
        n_rows,
        n_outputs: 1,
        kv_type,
    };
    let target = &model.weights.target;
    Buffers::new(&model.gpu, target, &model.config, walk, sizes)
}

fn forward<'a>(
    model: &'a DeviceModel,
    walk: &'a Walk,
    buffers: &'a Buffers,
    exits: bool,
) -> Forward<'a> {
    Forward {
        config: &model.config,
        walk,
        pool: model.pool.as_ref(),
        weights: &model.weights,
        buffers,
        kind: BatchKind::of(&model.weights.target, buffers.sizes.n_rows, true),
        exits,
    }
}

/// The last row of a prompt alone gets logits.
fn of_one_row<'a>(forward: &Forward<'a>) -> Forward<'a> {
    Forward {
        kind: BatchKind::OneRow,
        ..*forward
    }
}

/// The row of logits that a token is drawn from.
fn inputs(buffers: &Buffers) -> Inputs<'_> {
    Inputs {
        logits: &buffers.logits,
        rows: &buffers.rows,
        list: buffers.lists.outputs(),
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
    let walks = [
        walk(model, KvPolicy::Propagate)?,
        walk(model, KvPolicy::Share)?,
    ];
    let buffers = buffers(model, &walks[0], n_rows, depth, kv_type)?;
    let forwards = walks
        .each_ref()
        .map(|walk| forward(model, walk, &buffers, true));
    let of_one = of_one_row(&forwards[0]);
    let options = SamplingOptions {
        repeat_penalty: 1.1,
        ..SamplingOptions::default()
    };
    let sampler = device_sampler(gpu, model, &options);
    draw_once(gpu, &sampler, &buffers, n_rows, depth);
    let dispatch_sizes = DispatchSizes::new(gpu, walks[0].n_cycles);
    let mut recorder = Recorder::new(model.weights.target.skip);
    sampler.record_next(
        &mut recorder,
        buffers.lists.all(),
        &buffers.rows,
        &buffers.ids,
    );
    for forward in &forwards {
        forward.pass(&mut recorder, &dispatch_sizes);
    }
    of_one.logits(&mut recorder);
    forwards[0].of_other_families(&mut recorder);
    sampler.record_draw(&mut recorder, PENALTY, inputs(&buffers));
    visit(&buffers, &recorder)
}

/// The rows of a dispatch: only the last row of a prompt gets logits.
pub(super) fn rows_of(note: &Note, n_rows: usize) -> usize {
    match note.size {
        Size::Counted(OUTPUT_ROWS | DRAW_ROWS) => 1,
        _ => n_rows,
    }
}

/// Draws with the repeat penalty.
const PENALTY: Changes = Changes {
    adjusts: false,
    penalizes: true,
};

/// A sampler of one sequence that has seen some tokens.
fn device_sampler(gpu: &Gpu, model: &DeviceModel, options: &SamplingOptions) -> DeviceSampler {
    let n_vocab = model.config.vocab;
    let seen: Vec<u32> = (0..n_vocab as u32).take(64).collect();
    let mut sampler = DeviceSampler::new(gpu, 1, 1, n_vocab, padded(n_vocab));
    sampler.set(gpu, 0, &Sampler::new(options.clone(), &seen));
    sampler
}

/// Draws a token, as each kernel of drawing reads the output of the one before it.
fn draw_once(gpu: &Gpu, sampler: &DeviceSampler, buffers: &Buffers, n_rows: usize, depth: usize) {
    let rows = buffers.lists.every_list(&Place::alone(depth, n_rows), 0);
    gpu.queue
        .write_buffer(&buffers.rows, 0, bytemuck::cast_slice(&rows));
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    let counts = [n_rows as u32, 1, 1];
    sampler.encode_draw(gpu, PENALTY, inputs(buffers), &mut encoder, &counts);
    gpu.queue.submit([encoder.finish()]);
}
