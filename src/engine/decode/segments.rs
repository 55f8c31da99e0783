//! Parts of passes, each recorded when it is first needed and encoded in any order.

use std::ops::Range;

use crate::engine::pass::forward::Forward;
use crate::engine::pass::recorder::{DispatchSizes, Pass, Recorder};
use crate::engine::sampling::device::{Changes, DeviceSampler, Inputs};
use crate::gpu::Gpu;
use crate::kernels::BatchKind;
use crate::model::config::KvPolicy;

/// A part of a pass over the rows of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Tokens and positions of rows that go on from a token drawn on the device.
    Next,
    /// Embeddings of the rows' tokens: the residual stream.
    Embed,
    /// Steps of the walk, from the residual stream as it stands. With `exits`, rows may leave, and
    /// get the keys and values of the cycles they skip so.
    Layers {
        steps: Range<usize>,
        exits: Option<KvPolicy>,
    },
    /// The logits of the rows that get some.
    Logits,
    /// A token for each of the first of them.
    Draw(Changes),
    /// Copies of the rows' residual streams, as those that are kept from this one on.
    Keep { first: usize },
    /// The streams that were kept, as those of the rows.
    Restore,
}

impl Segment {
    /// Whether it only copies: nothing is recorded for it.
    fn is_copy(&self) -> bool {
        matches!(self, Segment::Keep { .. } | Segment::Restore)
    }
}

/// Segments that have been recorded.
#[derive(Default)]
pub struct Segments {
    recorded: Vec<(Segment, BatchKind, Pass)>,
}

impl Segments {
    /// Records a segment unless it has been before. `forward` makes what the walk is recorded from.
    pub fn record<'a>(
        &mut self,
        gpu: &Gpu,
        segment: &Segment,
        sampler: &DeviceSampler,
        forward: Forward<'a>,
    ) {
        let kind = forward.kind;
        if segment.is_copy() || self.get(segment, kind).is_some() {
            return;
        }
        let exits = matches!(segment, Segment::Layers { exits: Some(_), .. });
        let forward = Forward { exits, ..forward };
        let n_cycles = if exits { forward.walk.n_cycles } else { 0 };
        let sizes = DispatchSizes::new(gpu, n_cycles);
        let mut recorder = Recorder::new(forward.weights.target.skip);
        let buffers = forward.buffers;
        let lists = buffers.lists;
        match segment {
            Segment::Next => {
                sampler.record_next(&mut recorder, lists.all(), &buffers.rows, &buffers.ids);
            }
            Segment::Embed => forward.embed(&mut recorder),
            Segment::Layers { steps, .. } => forward.layers(&mut recorder, steps.clone(), &sizes),
            Segment::Logits => forward.logits(&mut recorder),
            Segment::Draw(changes) => {
                let inputs = Inputs {
                    logits: &buffers.logits,
                    rows: &buffers.rows,
                    list: lists.outputs(),
                };
                sampler.record_draw(&mut recorder, *changes, inputs);
            }
            Segment::Keep { .. } | Segment::Restore => {}
        }
        let pass = recorder.finish(gpu, &sizes);
        self.recorded.push((segment.clone(), kind, pass));
    }

    /// A segment that was recorded. Drawing does not depend on the kind of the batch.
    pub fn get(&self, segment: &Segment, kind: BatchKind) -> Option<&Pass> {
        let depends = !matches!(segment, Segment::Next | Segment::Draw(_));
        let mut recorded = self.recorded.iter();
        let found = recorded.find(|(s, k, _)| s == segment && (*k == kind || !depends));
        found.map(|(_, _, pass)| pass)
    }
}
