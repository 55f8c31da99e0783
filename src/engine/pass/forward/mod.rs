//! The walk over head, cycles and tail, and the transformer block.
//!
//! `layers` is the walk, `layer` the block; `attention`, `branch` and `projection` hold the parts of
//! a layer, `cycle` the end of a cycle, `logits` what follows the walk.

mod attention;
mod branch;
mod cycle;
mod logits;
mod others;
mod projection;

use std::ops::Range;

use crate::engine::memory::buffers::Buffers;
use crate::engine::memory::rows::BATCH_ROWS;
use crate::engine::pass::recorder::{DispatchSizes, Phase, Recorder, RowList, Size};
use crate::engine::weights::Weights;
use crate::kernels::{BatchKind, embed};
use crate::model::config::Config;
use crate::model::role::Role;
use crate::model::weights::Pool;
use crate::schedule::{EffectiveLayer, Part, Step, Walk};
use attention::Cycles;

/// The inputs that a pass is recorded from.
pub struct Forward<'a> {
    pub config: &'a Config,
    pub walk: &'a Walk,
    pub pool: Option<&'a Pool>,
    pub weights: &'a Weights,
    pub buffers: &'a Buffers,
    pub kind: BatchKind,
    /// Rows may leave the cycles before the last one.
    pub exits: bool,
}

impl<'a> Forward<'a> {
    /// Every row of the batch.
    fn all(&self) -> RowList {
        RowList {
            list: self.buffers.lists.all(),
            size: Size::Counted(BATCH_ROWS),
        }
    }

    /// Records the whole walk, from tokens to the residual stream that logits are made from.
    pub fn pass<'b>(&'b self, r: &mut Recorder<'b>, sizes: &'b DispatchSizes) {
        self.embed(r);
        self.layers(r, 0..self.walk.steps.len(), sizes);
    }

    /// Records steps of the walk, from the residual stream as it stands. All rows of the batch
    /// begin; exits are those decided within these steps.
    pub fn layers<'b>(
        &'b self,
        r: &mut Recorder<'b>,
        steps: Range<usize>,
        sizes: &'b DispatchSizes,
    ) {
        let mut running = self.all();
        for step in &self.walk.steps[steps] {
            match *step {
                Step::Layer(step) => {
                    r.enter(match step.part {
                        Part::Head => Phase::Head,
                        Part::Middle { cycle, .. } => Phase::Cycle(cycle),
                        Part::Tail => Phase::Tail,
                    });
                    let over = match step.part {
                        Part::Middle { .. } => running,
                        Part::Head | Part::Tail => self.all(),
                    };
                    self.layer(r, step, over);
                }
                Step::CycleEnd { cycle, norm } => {
                    if norm {
                        self.norm_stream(r, running);
                    }
                    self.score(r, cycle, running);
                    if self.exits && cycle + 1 < self.walk.n_cycles {
                        running = self.exit(r, cycle, running, sizes);
                    }
                }
            }
        }
    }

    /// One effective layer: attention, then MLP, each added to the residual stream.
    fn layer<'b>(&'b self, r: &mut Recorder<'b>, step: EffectiveLayer, over: RowList) {
        let (layer, b) = (step.layer, self.buffers);
        let cycles = Cycles::one(step.cycle());
        self.qkv(r, Role::Qkv.label(), layer, cycles, over);
        self.attention(r, step, over);
        self.add_branch(r, layer, Role::OProj, &b.heads, over);
        self.mlp_in(r, layer, over);
        self.add_branch(r, layer, Role::MlpOut, &b.mlp, over);
    }

    /// Records the embeddings of the rows' tokens.
    pub fn embed<'b>(&'b self, r: &mut Recorder<'b>) {
        r.enter(Phase::Head);
        let over = self.all();
        let (w, b) = (self.weights, self.buffers);
        let embedding = &w.outer.matrices[&Role::Embedding];
        for part in &embedding.parts {
            let params = embed::Params {
                n_octets: embedding.n_octets,
                first_token: part.first_row,
                n_tokens: part.n_rows,
                list: over.list,
                multiplier: self.config.embedding_multiplier as f32,
            };
            let positions = w.positions.as_ref();
            let weights = part.store.resource();
            let buffers = [&b.ids, &b.rows, &b.x];
            let dtype = embedding.dtype;
            let call = embed::call(&w.target, dtype, params, weights, positions, buffers);
            r.push(Role::Embedding.label(), call, over);
        }
    }
}
