//! Attention of a layer: queries, keys and values from the residual stream, and the heads' outputs.

use super::Forward;
use super::projection::Projection;
use crate::engine::memory::layout::{OCTET, padded};
use crate::engine::pass::recorder::{Over, Recorder};
use crate::kernels::{attention, linear, qkv_store};
use crate::model::family::PositionKind;
use crate::schedule::{Part, Step};

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
        over: Over,
    ) {
        let (w, b) = (&self.weights.layers[layer], self.buffers);
        let (norm, x) = self.norm_on_the_way(r, "attn_norm", &w.attn_norm, over);
        let to = linear::Qkv {
            angles: &b.rope_angles,
            q: b.q.resource(),
            kv: b.kv[layer].resource(),
            kv_type: b.sizes.kv_type,
        };
        let first_output = match cycles.with_queries {
            true => 0,
            false => (self.config.n_heads * padded(self.config.head_dim)) as u32,
        };
        let params = self.qkv_params(layer, cycles);
        let projection = Projection {
            first_output,
            ..Projection::new(role, &w.qkv, x, &b.qkv).normed(norm)
        };
        let Some(qk_norm) = &w.qk_norm else {
            let to = Some((params, linear::Output::Qkv(to)));
            self.project(r, over, Projection { to, ..projection });
            return;
        };
        self.project(r, over, projection);
        let n_out = w.qkv.n_out;
        let params = linear::Params {
            n_out: n_out - first_output,
            first_output,
            list: over.list,
            n_cols: self.config.head_dim as u32,
            eps: self.config.norm_eps as f32,
            y_stride: n_out,
            ..params
        };
        let target = &self.weights.target;
        let call = qkv_store::call(target, params, &b.qkv, qk_norm, &b.nothing, &b.rows, to);
        r.push("qkv_store", call, over);
    }

    fn qkv_params(&self, layer: usize, cycles: Cycles) -> linear::Params {
        let (c, b) = (self.config, self.buffers);
        linear::Params {
            n_heads: c.n_heads as u32,
            n_kv_heads: c.n_kv_heads as u32,
            head_octets: (padded(c.head_dim) / OCTET) as u32,
            has_rope: u32::from(c.position == PositionKind::Rope),
            kv_places: b.kv[layer].places(&b.sizes),
            first_cycle: cycles.first as u32,
            n_cycles: cycles.n as u32,
            ..Default::default()
        }
    }

    pub(super) fn attention<'b>(&'b self, r: &mut Recorder<'b>, step: Step, over: Over) {
        let (c, b) = (self.config, self.buffers);
        let zero = self.pool.zip(step.pool_row);
        let layer = match step.part {
            Part::Middle { j, .. } if self.schedule.has_scores => Some(j as u32),
            _ => None,
        };
        let params = attention::Params {
            n_heads: c.n_heads as u32,
            n_kv_heads: c.n_kv_heads as u32,
            head_dim: c.head_dim as u32,
            head_octets: (padded(c.head_dim) / OCTET) as u32,
            kv_places: b.kv[step.layer].places(&b.sizes),
            cycle: step.cycle() as u32,
            list: over.list,
            out_stride: padded(c.q_dim()) as u32,
            scale: (1.0 / (c.head_dim as f64).sqrt()) as f32,
            has_zero: u32::from(zero.is_some()),
            zero_key: zero.map_or(0, |(_, row)| row as u32),
            zero_value: zero.map_or(0, |(pool, row)| (pool.n_rows + row) as u32),
            pool_heads: zero.map_or(1, |(pool, _)| pool.n_heads as u32),
            window: c.windows[step.layer].map_or(u32::MAX, |w| w.min(u32::MAX as usize) as u32),
            writes_zeros: u32::from(layer.is_some()),
            layer: layer.unwrap_or(0),
            n_layers: c.middle_layers() as u32,
            ..Default::default()
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
        let (kv_type, n_ctx) = (b.sizes.kv_type, b.sizes.n_ctx as u32);
        let target = &self.weights.target;
        let calls = attention::calls(target, self.kind, kv_type, n_ctx, params, operands);
        for (call, role) in calls {
            r.push(role, call, over);
        }
    }
}
