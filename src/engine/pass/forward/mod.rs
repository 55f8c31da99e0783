//! The walk over head, cycles and tail, and the transformer block.
//!
//! `layers` is the walk, `layer` the block; `attention`, `branch` and `projection` hold the parts of
//! a layer.

mod attention;
mod branch;
mod projection;

use std::ops::Range;

use crate::engine::memory::activations::{has_branch_apart, heads};
use crate::engine::memory::buffers::Buffers;
use crate::engine::memory::layout::padded;
use crate::engine::memory::rows::{BATCH_ROWS, OUTPUT_ROWS};
use crate::engine::pass::recorder::{DispatchSizes, Phase, Recorder, RowList, Size};
use crate::engine::weights::Weights;
use crate::kernels::{
    BatchKind, cap_logits, embed, exit, gather_rows, kv_copy, layer_norm, norm_add, zero_score,
};
use crate::model::config::{Config, KvPolicy};
use crate::model::family::NormKind;
use crate::model::role::Role;
use crate::model::weights::Pool;
use crate::schedule::{EffectiveLayer, Part, Score, Step, Walk};
use attention::Cycles;
use projection::Projection;

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

    /// The final norm of the residual stream in its place.
    fn norm_stream<'b>(&'b self, r: &mut Recorder<'b>, over: RowList) {
        let (c, b) = (self.config, self.buffers);
        let params = norm_add::Params {
            n_cols: c.hidden as u32,
            stride: padded(c.hidden) as u32,
            list: over.list,
            eps: c.norm_eps as f32,
            multiplier: 1.0,
        };
        let operands = norm_add::Operands {
            branch: None,
            norm: Some(&self.weights.outer.norms[&Role::FinalNorm].0),
            rows: &b.rows,
            x: &b.x,
        };
        let (target, place) = (&self.weights.target, norm_add::Place::Stream);
        let call = norm_add::call(target, params, place, c.norm, operands);
        r.push("cycle_norm", call, over);
    }

    /// The score of a cycle that has run.
    fn score<'b>(&'b self, r: &mut Recorder<'b>, cycle: usize, over: RowList) {
        let (c, b) = (self.config, self.buffers);
        let Some(Score::ZeroAttention(reduce)) = self.walk.score else {
            return;
        };
        let params = zero_score::Params {
            n_middle_layers: c.middle_layers() as u32,
            n_heads: c.n_heads as u32,
            reduce: zero_score::reduce_constant(reduce),
            cycle: cycle as u32,
            n_cycles: self.walk.n_cycles as u32,
            list: over.list,
        };
        let call = zero_score::call(params, [&b.zeros, &b.rows, &b.progress]);
        r.push("zero_score", call, over);
    }

    /// Which rows leave after a cycle, and their keys and values in later ones. Returns the rows
    /// that stay.
    fn exit<'b>(
        &'b self,
        r: &mut Recorder<'b>,
        cycle: usize,
        over: RowList,
        sizes: &'b DispatchSizes,
    ) -> RowList {
        let b = self.buffers;
        let (staying, leaving) = (b.lists.staying(cycle), b.lists.leaving(cycle));
        let params = exit::Params {
            cycle: cycle as u32,
            n_cycles: self.walk.n_cycles as u32,
            has_score: self.walk.score.is_some().into(),
            list: over.list,
            staying,
            leaving,
            // The recorder fills these in, as it knows the calls that follow.
            first_grid: 0,
            n_grids: 0,
        };
        let buffers = [&sizes.grids, &b.rows, &b.progress, &sizes.dispatches];
        r.push_exit(params, buffers, over);
        let leaving = RowList {
            list: leaving,
            size: Size::Leaving,
        };
        self.fill_skipped(r, cycle, leaving);
        RowList {
            list: staying,
            size: Size::Staying,
        }
    }

    /// Keys and values of the cycles after `cycle` for the rows that exit after it.
    fn fill_skipped<'b>(&'b self, r: &mut Recorder<'b>, cycle: usize, leaving: RowList) {
        let (c, b) = (self.config, self.buffers);
        let n_skipped = self.walk.n_cycles - cycle - 1;
        for step in self.walk.cycle(cycle) {
            if self.walk.kv == KvPolicy::Share {
                let kv = &b.kv[step.layer];
                let cache = kv_copy::Cache {
                    kv_type: b.sizes.kv_type,
                    heads: heads(c),
                    places: kv.places(&b.sizes),
                    cycle: cycle as u32,
                    n_copies: n_skipped as u32,
                    kv: kv.copy(cycle),
                };
                let call = kv_copy::call(&self.weights.target, cache, &b.rows, leaving.list);
                r.push("kv_copy", call, leaving);
                continue;
            }
            let cycles = Cycles {
                first: cycle + 1,
                n: n_skipped,
                with_queries: false,
            };
            self.qkv(r, "fill_kv_proj", step.layer, cycles, leaving);
        }
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

    /// The kernels that this model's family has no use for and others have, on this model's
    /// shapes: for measuring.
    pub fn of_other_families<'b>(&'b self, r: &mut Recorder<'b>) {
        let (c, b, over) = (self.config, self.buffers, self.all());
        let norm = &self.weights.outer.norms[&Role::FinalNorm].0;
        if c.norm == NormKind::Rms {
            let params = layer_norm::Params {
                n_cols: c.hidden as u32,
                stride: padded(c.hidden) as u32,
                list: over.list,
                dense: 0,
                eps: c.norm_eps as f32,
            };
            let buffers = [&b.x, norm, &b.rows, &b.normed];
            let call = layer_norm::call(&self.weights.target, params, buffers);
            r.push("layer_norm", call, over);
        }
        if !has_branch_apart(c) {
            let params = norm_add::Params {
                n_cols: c.hidden as u32,
                stride: padded(c.hidden) as u32,
                list: over.list,
                eps: c.norm_eps as f32,
                multiplier: 1.0,
            };
            let operands = norm_add::Operands {
                branch: Some(&b.normed),
                norm: Some(norm),
                rows: &b.rows,
                x: &b.x,
            };
            let place = norm_add::Place::OnBranch;
            let call = norm_add::call(&self.weights.target, params, place, c.norm, operands);
            r.push("norm_add", call, over);
        }
        if !changes_logits(c) {
            let outputs = RowList {
                list: b.lists.dense(),
                size: Size::Counted(OUTPUT_ROWS),
            };
            self.cap_logits(r, 1.0, Some(30.0), outputs);
        }
    }

    /// Final norm and output projection of the rows that get logits, packed densely.
    pub fn logits<'b>(&'b self, r: &mut Recorder<'b>) {
        r.enter(Phase::Logits);
        let (c, b, w) = (self.config, self.buffers, &self.weights.outer);
        let size = Size::Counted(OUTPUT_ROWS);
        let outputs = RowList {
            list: b.lists.outputs(),
            size,
        };
        let dense = RowList {
            list: b.lists.dense(),
            size,
        };
        if self.walk.final_norm {
            let norm = &w.norms[&Role::FinalNorm];
            self.norm(r, Role::FinalNorm.label(), norm, outputs, true);
        } else {
            let params = gather_rows::Params {
                n_quads: padded(c.hidden) as u32 / 4,
                list: outputs.list,
            };
            let call = gather_rows::call(params, [&b.x, &b.rows, &b.normed]);
            r.push("gather_rows", call, outputs);
        }
        let head = w.matrices.get(&Role::LmHead);
        let head = head.unwrap_or(&w.matrices[&Role::Embedding]);
        self.project(
            r,
            dense,
            Projection::new(Role::LmHead.label(), head, &b.normed, &b.logits),
        );
        if changes_logits(c) {
            self.cap_logits(r, c.logits_multiplier, c.logits_soft_cap, dense);
        }
    }

    fn cap_logits<'b>(
        &'b self,
        r: &mut Recorder<'b>,
        multiplier: f64,
        soft_cap: Option<f64>,
        over: RowList,
    ) {
        let n_vocab = self.config.vocab as u32;
        let params = cap_logits::Params {
            n_vocab,
            stride: padded(self.config.vocab) as u32,
            multiplier: multiplier as f32,
            soft_cap: soft_cap.unwrap_or(0.0) as f32,
        };
        let call = cap_logits::call(params, &self.buffers.logits);
        r.push("cap_logits", call, over);
    }
}

/// Whether logits are other than the output projection's sums.
fn changes_logits(config: &Config) -> bool {
    config.logits_multiplier != 1.0 || config.logits_soft_cap.is_some()
}
