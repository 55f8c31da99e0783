//! The end of a cycle: its score, the rows that leave, and their keys and values in later cycles.

use super::Forward;
use super::attention::Cycles;
use super::branch::Added;
use crate::engine::memory::activations::heads;
use crate::engine::memory::layout::padded;
use crate::engine::pass::recorder::{DispatchSizes, Recorder, RowList, Size};
use crate::gpu::Call;
use crate::kernels::norm_add::Place;
use crate::kernels::{exit, gate_score, kv_copy, zero_score};
use crate::model::config::{KvPolicy, Reduce};
use crate::model::role::Role;
use crate::schedule::Score;

impl Forward<'_> {
    /// The final norm of the residual stream in its place.
    pub(super) fn norm_stream<'b>(&'b self, r: &mut Recorder<'b>, over: RowList) {
        let added = Added {
            place: Place::Stream,
            branch: None,
            norm: Some(&self.weights.outer.norms[&Role::FinalNorm]),
            multiplier: 1.0,
        };
        self.norm_add(r, "cycle_norm", added, over);
    }

    /// The score of a cycle that has run.
    pub(super) fn score<'b>(&'b self, r: &mut Recorder<'b>, cycle: usize, over: RowList) {
        let call = match self.walk.score {
            Some(Score::ZeroAttention(reduce)) => self.zero_score(reduce, cycle, over),
            Some(Score::Gate) => self.gate_score(cycle, over),
            None => return,
        };
        r.push(call.kernel.name, call, over);
    }

    fn zero_score(&self, reduce: Reduce, cycle: usize, over: RowList) -> Call<'_> {
        let (c, b) = (self.config, self.buffers);
        let params = zero_score::Params {
            n_middle_layers: c.middle_layers() as u32,
            n_heads: c.n_heads as u32,
            reduce: zero_score::reduce_constant(reduce),
            cycle: cycle as u32,
            n_cycles: self.walk.n_cycles as u32,
            list: over.list,
        };
        zero_score::call(params, [&b.zeros, &b.rows, &b.progress])
    }

    fn gate_score(&self, cycle: usize, over: RowList) -> Call<'_> {
        let (c, b) = (self.config, self.buffers);
        let params = gate_score::Params {
            n_cols: c.hidden as u32,
            stride: padded(c.hidden) as u32,
            cycle: cycle as u32,
            n_cycles: self.walk.n_cycles as u32,
            list: over.list,
        };
        let gate = &self.weights.outer.norms[&Role::ExitGate].0;
        let buffers = [&b.x, gate, &b.rows, &b.progress];
        gate_score::call(&self.weights.target, params, buffers)
    }

    /// Which rows leave after a cycle, and their keys and values in later ones. Returns the rows
    /// that stay.
    pub(super) fn exit<'b>(
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
}
