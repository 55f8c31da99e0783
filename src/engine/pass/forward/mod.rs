//! The walk over head, cycles and tail, and the transformer block.
//!
//! `pass` is the walk, `layer` the block; `attention`, `branch` and `projection` hold the parts of
//! a layer.

mod attention;
mod branch;
mod projection;

use crate::engine::memory::activations::{has_branch_apart, heads};
use crate::engine::memory::buffers::Buffers;
use crate::engine::memory::layout::padded;
use crate::engine::memory::rows::{BATCH_ROWS, OUTPUT_ROWS};
use crate::engine::pass::recorder::{DispatchSizes, Pass, Phase, Recorder, RowList, Size};
use crate::engine::weights::Weights;
use crate::gpu::Gpu;
use crate::kernels::{BatchKind, cap_logits, embed, exit, kv_copy, layer_norm, norm_add};
use crate::model::config::{Config, KvPolicy};
use crate::model::family::NormKind;
use crate::model::role::Role;
use crate::model::weights::Pool;
use crate::schedule::{Schedule, Step};
use attention::Cycles;
use projection::Projection;

/// The inputs that a pass is recorded from.
pub struct Forward<'a> {
    pub gpu: &'a Gpu,
    pub config: &'a Config,
    pub schedule: &'a Schedule,
    pub pool: Option<&'a Pool>,
    pub weights: &'a Weights,
    pub buffers: &'a Buffers,
    pub kind: BatchKind,
}

impl<'a> Forward<'a> {
    /// Builds the pass.
    pub fn record(&self) -> Pass {
        let sizes = DispatchSizes::new(self.gpu, self.schedule.n_cycles());
        let mut recorder = Recorder::new(self.weights.target.skip);
        self.pass(&mut recorder, &sizes);
        recorder.finish(self.gpu, &sizes)
    }

    /// Records the walk.
    pub fn pass<'b>(&'b self, r: &mut Recorder<'b>, sizes: &'b DispatchSizes) {
        let b = self.buffers;
        let all = RowList {
            list: b.lists.all(),
            size: Size::Counted(BATCH_ROWS),
        };
        self.embed(r, all);
        for &step in &self.schedule.head {
            self.layer(r, step, all);
        }
        let mut running = all;
        for (cycle, steps) in self.schedule.cycles.iter().enumerate() {
            r.enter(Phase::Cycle(cycle));
            for &step in steps {
                self.layer(r, step, running);
            }
            if !self.schedule.has_scores {
                continue;
            }
            self.exit(r, cycle, running, sizes);
            if self.schedule.may_exit_after(cycle) {
                self.fill_skipped(r, cycle, steps);
                running = RowList {
                    list: b.lists.staying(cycle),
                    size: Size::Staying,
                };
            }
        }
        r.enter(Phase::Tail);
        for &step in &self.schedule.tail {
            self.layer(r, step, all);
        }
        r.enter(Phase::Logits);
        self.logits(r);
    }

    /// One effective layer: attention, then MLP, each added to the residual stream.
    fn layer<'b>(&'b self, r: &mut Recorder<'b>, step: Step, over: RowList) {
        let (layer, b) = (step.layer, self.buffers);
        let cycles = Cycles::one(step.cycle());
        self.qkv(r, Role::Qkv.label(), layer, cycles, over);
        self.attention(r, step, over);
        self.add_branch(r, layer, Role::OProj, &b.heads, over);
        self.mlp_in(r, layer, over);
        self.add_branch(r, layer, Role::MlpOut, &b.mlp, over);
    }

    /// Keys and values of the cycles after `cycle` for the rows that exit after it.
    fn fill_skipped<'b>(&'b self, r: &mut Recorder<'b>, cycle: usize, steps: &[Step]) {
        let (c, b) = (self.config, self.buffers);
        let leaving = RowList {
            list: b.lists.leaving(cycle),
            size: Size::Leaving,
        };
        let n_skipped = self.schedule.n_cycles() - cycle - 1;
        for step in steps {
            if self.schedule.exit.kv == KvPolicy::Share {
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

    fn exit<'b>(
        &'b self,
        r: &mut Recorder<'b>,
        cycle: usize,
        over: RowList,
        sizes: &'b DispatchSizes,
    ) {
        let (c, b, rule) = (self.config, self.buffers, &self.schedule.exit);
        let decides = self.schedule.may_exit_after(cycle);
        let params = exit::Params {
            n_middle_layers: c.middle_layers() as u32,
            n_heads: c.n_heads as u32,
            reduce: exit::reduce_constant(rule.reduce),
            cycle: cycle as u32,
            n_cycles: self.schedule.n_cycles() as u32,
            decides: u32::from(decides),
            threshold: rule.threshold.unwrap_or(0.0) as f32,
            list: over.list,
            staying: b.lists.staying(cycle),
            leaving: b.lists.leaving(cycle),
            // The recorder fills these in, as it knows the calls that follow.
            first_grid: 0,
            n_grids: 0,
        };
        let (grids, dispatches) = (&sizes.grids, &sizes.dispatches);
        let buffers = [&b.zeros, grids, &b.rows, &b.progress, dispatches];
        r.push_exit(params, buffers, over);
    }

    fn embed<'b>(&'b self, r: &mut Recorder<'b>, over: RowList) {
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
        let (c, b) = (self.config, self.buffers);
        let over = RowList {
            list: b.lists.all(),
            size: Size::Counted(BATCH_ROWS),
        };
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
    fn logits<'b>(&'b self, r: &mut Recorder<'b>) {
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
        let norm = &w.norms[&Role::FinalNorm];
        self.norm(r, Role::FinalNorm.label(), norm, outputs, true);
        let head = w.matrices.get(&Role::LmHead);
        let head = head.unwrap_or(&w.matrices[&Role::Embedding]);
        let logits = Projection::new(Role::LmHead.label(), head, &b.normed, &b.logits);
        self.project(
            r,
            dense,
            Projection {
                unpadded: true,
                ..logits
            },
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
            stride: n_vocab,
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
