//! Attention of a layer: queries, keys and values from the residual stream, and the heads' outputs.

use super::Forward;
use super::projection::Projection;
use crate::engine::memory::activations::heads;
use crate::engine::memory::layout::padded;
use crate::engine::pass::recorder::{Recorder, RowList};
use crate::kernels::{attention, linear, qkv_store};
use crate::model::role::Role;
use crate::model::weights::Pool;
use crate::schedule::{EffectiveLayer, Part};

/// Cycles whose cache is written.
#[derive(Clone, Copy)]
pub(super) struct Cycles {
    pub first: usize,
    pub n: usize,
    pub with_queries: bool,
}

impl Cycles {
    /// The one that is computed.
    pub fn one(cycle: usize) -> Self {
        Self {
            first: cycle,
            n: 1,
            with_queries: true,
        }
    }
}

impl Forward<'_> {
    /// Queries, keys and values of a layer: queries to `q`, the others to the cache of `cycles`.
    /// Those filled for later cycles need no queries.
    pub(super) fn qkv<'b>(
        &'b self,
        r: &mut Recorder<'b>,
        role: &'static str,
        layer: usize,
        cycles: Cycles,
        over: RowList,
    ) {
        let (w, b) = (&self.weights.layers[layer], self.buffers);
        let attention = &self.config.blocks[layer].attention;
        let matrix = &w.matrices[&Role::Qkv];
        let (norm, x) = self.branch_input(r, layer, Role::AttnNorm, over);
        let to = linear::Qkv {
            heads: heads(self.config),
            angles: attention.rope.map(|rope| &b.rope_angles[rope]),
            q: b.q.resource(),
            kv: b.kv[layer].resource(),
            kv_type: b.sizes.kv_type,
            kv_places: b.kv[layer].places(&b.sizes),
            first_cycle: cycles.first as u32,
            n_cycles: cycles.n as u32,
        };
        let first_output = match cycles.with_queries {
            true => 0,
            false => (self.config.n_heads * padded(self.config.head_dim)) as u32,
        };
        let projection = Projection {
            first_output,
            ..Projection::new(role, matrix, x, &b.qkv).normed(norm)
        };
        let weights = w.qk_norm.as_ref();
        let norm = weights
            .zip(attention.qk_norm)
            .map(|(weights, norm)| qkv_store::QkNormWeights { weights, norm });
        if norm.is_none() && !to.kv_type.takes_whole_heads() {
            let to = Some(to);
            self.project(r, over, Projection { to, ..projection });
            return;
        }
        self.project(r, over, projection);
        let projected = qkv_store::Projected {
            values: &b.qkv,
            stride: matrix.n_out,
            norm,
            head_dim: self.config.head_dim as u32,
            eps: self.config.norm_eps as f32,
            rows: &b.rows,
            list: over.list,
            first_output,
            n_out: matrix.n_out - first_output,
        };
        let call = qkv_store::call(&self.weights.target, projected, to);
        r.push("qkv_store", call, over);
    }

    pub(super) fn attention<'b>(
        &'b self,
        r: &mut Recorder<'b>,
        step: EffectiveLayer,
        over: RowList,
    ) {
        let (c, b) = (self.config, self.buffers);
        let block = &c.blocks[step.layer].attention;
        let zero = |(pool, row): (&Pool, usize)| attention::ZeroToken {
            key_row: row as u32,
            value_row: (pool.n_rows + row) as u32,
            n_heads: pool.n_heads as u32,
        };
        let attention = attention::Attention {
            heads: heads(c),
            head_dim: c.head_dim as u32,
            kv_type: b.sizes.kv_type,
            kv_places: b.kv[step.layer].places(&b.sizes),
            cycle: step.cycle() as u32,
            list: over.list,
            scale: block.scale as f32,
            soft_cap: block.soft_cap.map(|cap| cap as f32),
            zero: self.pool.zip(step.pool_row).map(zero),
            window: block
                .window
                .map_or(u32::MAX, |w| w.min(u32::MAX as usize) as u32),
            middle_layer: match step.part {
                Part::Middle { j, .. } if self.walk.scores_zero_attention() => Some(j as u32),
                _ => None,
            },
            n_middle_layers: c.middle_layers() as u32,
            n_ctx: b.sizes.n_ctx as u32,
        };
        let operands = attention::Operands {
            q: b.q.resource(),
            kv: b.kv[step.layer].resource(),
            pool: self.weights.pool.resource(),
            rows: &b.rows,
            out: &b.heads,
            zeros: &b.zeros,
            scratch: b.attention.resource(),
        };
        let target = &self.weights.target;
        let calls = attention::calls(target, self.kind, attention, operands);
        for (call, role) in calls {
            r.push(role, call, over);
        }
    }
}
