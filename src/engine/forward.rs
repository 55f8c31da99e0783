//! The forward pass as a list of kernels.
//!
//! Everything that changes from token to token (ids, positions, which rows are in the batch)
//! lies in buffers, so that the list is built once for a session and encoded for every batch.
//! `layer` is the transformer block; `pass` is the walk over head, cycles and tail.

use super::buffers::Buffers;
use super::recorder::{DispatchSizes, Over, Pass, Phase, Recorder, Size};
use super::weights::{Matrix, NormBuffers, Store, Weights, padded};
use crate::gpu::Gpu;
use crate::kernels::attention::Tiling;
use crate::kernels::linear::{Batch, Epilogue};
use crate::kernels::{
    attention, embed, exit, head_norm, kv_copy, layer_norm, linear, pack_rows, qkv_store, rms_norm,
};
use crate::model::config::{Config, KvPolicy};
use crate::model::family::{Activation, NormKind, PositionKind};
use crate::model::weights::Pool;
use crate::schedule::{Part, Schedule, Step};

/// Index of the batch's rows in the counts that [`Plan::encode`] gets.
pub const BATCH_ROWS: usize = 0;
/// Index of the rows that get logits.
pub const OUTPUT_ROWS: usize = 1;

/// What the pass is made from.
pub struct Forward<'a> {
    pub gpu: &'a Gpu,
    pub config: &'a Config,
    pub schedule: &'a Schedule,
    pub pool: Option<&'a Pool>,
    pub weights: &'a Weights,
    pub buffers: &'a Buffers,
    /// Whether batches have one row or many.
    pub batch: Batch,
}

impl<'a> Forward<'a> {
    /// Builds the pass.
    pub fn record(&self) -> Pass {
        let sizes = DispatchSizes::new(self.gpu, self.schedule.n_cycles());
        let mut recorder = Recorder::new();
        self.pass(&mut recorder, &sizes);
        recorder.finish(self.gpu, &sizes)
    }

    /// Records the walk.
    pub fn pass<'b>(&'b self, r: &mut Recorder<'b>, sizes: &'b DispatchSizes) {
        let b = self.buffers;
        let all = Over {
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
                running = Over {
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
    fn layer<'b>(&'b self, r: &mut Recorder<'b>, step: Step, over: Over) {
        let (w, b) = (&self.weights.layers[step.layer], self.buffers);
        let activation = match self.config.activation {
            Activation::SwiGlu => Epilogue::SwiGlu,
            Activation::GeluTanh => Epilogue::Gelu,
        };
        self.norm(r, "attn_norm", &w.attn_norm, over);
        self.project(
            r,
            over,
            Projection::new("qkv_proj", &w.qkv, &b.normed, &b.qkv),
        );
        self.qk_norm(r, step.layer, 0, over);
        let params = self.qkv_params(step.cycle(), over);
        self.qkv_store(r, "qkv_store", step.layer, params, over);
        self.attention(r, step, over);
        self.project(
            r,
            over,
            Projection::new("o_proj", &w.o_proj, &b.heads, &b.x).accumulating(),
        );
        self.norm(r, "mlp_norm", &w.mlp_norm, over);
        let mlp = Projection::new("mlp_in", &w.mlp_in, &b.normed, &b.mlp);
        self.project(
            r,
            over,
            Projection {
                epilogue: activation,
                ..mlp
            },
        );
        self.project(
            r,
            over,
            Projection::new("mlp_out", &w.mlp_out, &b.mlp, &b.x).accumulating(),
        );
    }

    /// Keys and values of the cycles after `cycle` for the rows that leave after it.
    fn fill_skipped<'b>(&'b self, r: &mut Recorder<'b>, cycle: usize, steps: &[Step]) {
        let (c, b) = (self.config, self.buffers);
        let leaving = Over {
            list: b.lists.leaving(cycle),
            size: Size::Leaving,
        };
        let n_skipped = (self.schedule.n_cycles() - cycle - 1) as u32;
        for step in steps {
            let w = &self.weights.layers[step.layer];
            if self.schedule.exit.kv == KvPolicy::Share {
                let params = kv_copy::Params {
                    n_kv_heads: c.n_kv_heads as u32,
                    n_ctx: b.sizes.n_ctx as u32,
                    head_stride: padded(c.head_dim) as u32,
                    list: leaving.list,
                    cycle: cycle as u32,
                    n_copies: n_skipped,
                };
                let kv = &b.kv[step.layer];
                r.push(
                    "kv_copy",
                    kv_copy::call(b.sizes.kv_type, params, [&b.rows, kv]),
                    leaving,
                );
                continue;
            }
            self.norm(r, "fill_norm", &w.attn_norm, leaving);
            // Queries are not needed: start at the rows of the keys.
            let kv = Projection::new("fill_kv_proj", &w.qkv, &b.normed, &b.qkv);
            let first_output = c.q_dim() as u32;
            self.project(r, leaving, Projection { first_output, ..kv });
            self.qk_norm(r, step.layer, c.n_heads, leaving);
            let params = qkv_store::Params {
                with_queries: 0,
                n_cycles: n_skipped,
                ..self.qkv_params(cycle + 1, leaving)
            };
            self.qkv_store(r, "fill_kv_store", step.layer, params, leaving);
        }
    }

    fn exit<'b>(
        &'b self,
        r: &mut Recorder<'b>,
        cycle: usize,
        over: Over,
        sizes: &'b DispatchSizes,
    ) {
        let (c, b, rule) = (self.config, self.buffers, &self.schedule.exit);
        let decides = self.schedule.may_exit_after(cycle);
        let params = exit::Params {
            n_layers: c.middle_layers() as u32,
            n_parts: self.tiling().n_parts,
            n_heads: c.n_heads as u32,
            reduce: exit::reduce_constant(rule.reduce),
            cycle: cycle as u32,
            n_cycles: self.schedule.n_cycles() as u32,
            decides: u32::from(decides),
            threshold: rule.threshold.unwrap_or(0.0) as f32,
            list: over.list,
            staying: b.lists.staying(cycle),
            leaving: b.lists.leaving(cycle),
            // The recorder knows what follows.
            first_grid: 0,
            n_grids: 0,
        };
        let (grids, dispatches) = (&sizes.grids, &sizes.dispatches);
        let buffers = [&b.partials, grids, &b.rows, &b.progress, dispatches];
        r.push_exit(params, buffers, over);
    }

    fn embed<'b>(&'b self, r: &mut Recorder<'b>, over: Over) {
        let (w, b) = (self.weights, self.buffers);
        for part in &w.embedding.parts {
            let params = embed::Params {
                n_octets: w.embedding.n_octets,
                first_token: part.first_row,
                n_tokens: part.n_rows,
                list: over.list,
                has_positions: u32::from(w.positions.is_some()),
            };
            let positions = w.positions.as_ref().unwrap_or(&b.nothing);
            let weights = part.store.resource();
            let buffers = [&b.ids, positions, &b.rows, &b.x];
            r.push(
                "embed",
                embed::call(w.embedding.dtype, params, weights, buffers),
                over,
            );
        }
    }

    /// The residual stream normed, row by row.
    fn norm<'b>(
        &'b self,
        r: &mut Recorder<'b>,
        role: &'static str,
        norm: &'b NormBuffers,
        over: Over,
    ) {
        self.norm_to(r, role, norm, over, false);
    }

    /// The same; `dense` puts the i-th listed row into row i.
    fn norm_to<'b>(
        &'b self,
        r: &mut Recorder<'b>,
        role: &'static str,
        norm: &'b NormBuffers,
        over: Over,
        dense: bool,
    ) {
        let (c, b) = (self.config, self.buffers);
        let (n_cols, stride) = (c.hidden as u32, padded(c.hidden) as u32);
        let (list, dense, eps) = (over.list, u32::from(dense), c.norm_eps as f32);
        let call = match (c.norm, &norm.bias) {
            (NormKind::Layer, Some(bias)) => layer_norm::call(
                layer_norm::Params {
                    n_cols,
                    stride,
                    list,
                    dense,
                    eps,
                },
                [&b.x, &norm.weight, bias, &b.rows, &b.normed],
            ),
            _ => rms_norm::call(
                rms_norm::Params {
                    n_cols,
                    stride,
                    list,
                    dense,
                    eps,
                },
                [&b.x, &norm.weight, &b.rows, &b.normed],
            ),
        };
        r.push(role, call, over);
    }

    /// A matrix times the listed rows, one dispatch for each part of the matrix.
    fn project<'b>(&'b self, r: &mut Recorder<'b>, over: Over, p: Projection<'b>) {
        let matrix = p.matrix;
        // Of a gate and its value one output is left.
        let per_column = if p.epilogue == Epilogue::SwiGlu { 2 } else { 1 };
        let n_columns = matrix.n_out / per_column;
        // A single row of logits is row 0 of its input, as in decoding.
        let is_one = over.size == Size::Counted(OUTPUT_ROWS) && self.buffers.sizes.n_outputs == 1;
        let batch = if is_one { Batch::One } else { self.batch };
        let in_texture = matches!(matrix.parts[0].store, Store::Texture(..));
        if in_texture && batch == Batch::Many {
            let params = pack_rows::Params {
                n_octets: matrix.n_octets,
                list: over.list,
            };
            let (x, rows) = (p.x, &self.buffers.rows);
            r.push(
                "pack_rows",
                pack_rows::call(params, x, rows, &self.buffers.packed),
                over,
            );
        }
        for part in &matrix.parts {
            let end = part.first_row + part.n_rows;
            let first = part.first_row.max(p.first_output);
            if first >= end {
                continue;
            }
            let params = linear::Params {
                n_in_octets: matrix.n_octets,
                n_out: end - first,
                weight_row: first - part.first_row,
                y_stride: if p.unpadded {
                    n_columns
                } else {
                    padded(n_columns as usize) as u32
                },
                y_column: first / per_column,
                bias_at: first,
                list: over.list,
                has_bias: u32::from(matrix.bias.is_some()),
                accumulate: u32::from(p.accumulate),
            };
            let weights = part.store.resource();
            let operands = linear::Operands {
                x: p.x,
                packed: &self.buffers.packed,
                bias: matrix.bias.as_ref().unwrap_or(&self.buffers.nothing),
                rows: &self.buffers.rows,
                y: p.y,
            };
            let call = linear::call(batch, matrix.dtype, p.epilogue, params, weights, operands);
            r.push(p.role, call, over);
        }
    }

    /// Norms of the heads from `first_head` on, query heads first, where the family has them.
    fn qk_norm<'b>(&'b self, r: &mut Recorder<'b>, layer: usize, first_head: usize, over: Over) {
        let (c, b) = (self.config, self.buffers);
        let Some(weights) = &self.weights.layers[layer].qk_norm else {
            return;
        };
        let params = self.qk_norm_params(first_head, over);
        let n_heads = (c.n_heads + c.n_kv_heads - first_head) as u32;
        r.push(
            "qk_norm",
            head_norm::call(n_heads, params, [weights, &b.rows, &b.qkv]),
            over,
        );
    }

    fn qk_norm_params(&self, first_head: usize, over: Over) -> head_norm::Params {
        let c = self.config;
        head_norm::Params {
            n_heads: c.n_heads as u32,
            first_head: first_head as u32,
            head_dim: c.head_dim as u32,
            stride: padded(c.q_dim() + 2 * c.kv_dim()) as u32,
            list: over.list,
            eps: c.norm_eps as f32,
        }
    }

    /// The norms that this model's family has no use for and others have, on this model's shapes:
    /// for measuring. What stands for their weights is any buffer that is long enough.
    pub fn other_norms<'b>(&'b self, r: &mut Recorder<'b>) {
        let (c, b) = (self.config, self.buffers);
        let over = Over {
            list: b.lists.all(),
            size: Size::Counted(BATCH_ROWS),
        };
        if c.norm == NormKind::Rms {
            let params = layer_norm::Params {
                n_cols: c.hidden as u32,
                stride: padded(c.hidden) as u32,
                list: over.list,
                dense: 0,
                eps: c.norm_eps as f32,
            };
            let weight = &self.weights.final_norm.weight;
            let buffers = [&b.x, weight, weight, &b.rows, &b.normed];
            r.push("layer_norm", layer_norm::call(params, buffers), over);
        }
        if self.weights.layers[0].qk_norm.is_none() {
            let params = self.qk_norm_params(0, over);
            let n_heads = (c.n_heads + c.n_kv_heads) as u32;
            // Twice head_dim values are read: a cache of two positions has as many.
            let buffers = [&b.kv[0], &b.rows, &b.qkv];
            r.push("qk_norm", head_norm::call(n_heads, params, buffers), over);
        }
    }

    fn qkv_params(&self, cycle: usize, over: Over) -> qkv_store::Params {
        let c = self.config;
        qkv_store::Params {
            n_heads: c.n_heads as u32,
            n_kv_heads: c.n_kv_heads as u32,
            head_dim: c.head_dim as u32,
            head_stride: padded(c.head_dim) as u32,
            qkv_stride: padded(c.q_dim() + 2 * c.kv_dim()) as u32,
            n_ctx: self.buffers.sizes.n_ctx as u32,
            n_pairs: match c.position {
                PositionKind::Rope => c.head_dim as u32 / 2,
                PositionKind::Learned => 0,
            },
            list: over.list,
            first_cycle: cycle as u32,
            n_cycles: 1,
            with_queries: 1,
        }
    }

    fn qkv_store<'b>(
        &'b self,
        r: &mut Recorder<'b>,
        role: &'static str,
        layer: usize,
        params: qkv_store::Params,
        over: Over,
    ) {
        let b = self.buffers;
        let angles = &b.rope_angles;
        let buffers = [&b.qkv, angles, &b.rows, &b.q, &b.kv[layer]];
        r.push(
            role,
            qkv_store::call(b.sizes.kv_type, params, buffers),
            over,
        );
    }

    fn tiling(&self) -> Tiling {
        let (heads, kv_heads) = (self.config.n_heads as u32, self.config.n_kv_heads as u32);
        Tiling::new(heads, kv_heads, self.batch == Batch::Many)
    }

    fn attention<'b>(&'b self, r: &mut Recorder<'b>, step: Step, over: Over) {
        let (c, b) = (self.config, self.buffers);
        let tiling = self.tiling();
        let zero = self.pool.zip(step.pool_row);
        // In vec4: where a row of the pool begins, and how long its half of keys is.
        let vec4s =
            |pool: &Pool, rows: usize| (rows * pool.n_heads * padded(c.head_dim) / 4) as u32;
        let layer = match step.part {
            Part::Middle { j, .. } if self.schedule.has_scores => Some(j as u32),
            _ => None,
        };
        let params = attention::Params {
            n_heads: c.n_heads as u32,
            n_kv_heads: c.n_kv_heads as u32,
            head_dim: c.head_dim as u32,
            head_stride: padded(c.head_dim) as u32,
            n_ctx: b.sizes.n_ctx as u32,
            heads_per_tile: tiling.heads_per_tile,
            rows_per_tile: tiling.rows_per_tile,
            cycle: step.cycle() as u32,
            list: over.list,
            out_stride: padded(c.q_dim()) as u32,
            scale: (1.0 / (c.head_dim as f64).sqrt()) as f32,
            has_zero: u32::from(zero.is_some()),
            zero_key: zero.map_or(0, |(pool, row)| vec4s(pool, row)),
            zero_value: zero.map_or(0, |(pool, row)| vec4s(pool, pool.n_rows + row)),
            pool_heads: zero.map_or(1, |(pool, _)| pool.n_heads as u32),
            window: c.windows[step.layer].map_or(u32::MAX, |w| w.min(u32::MAX as usize) as u32),
            writes_partials: u32::from(layer.is_some()),
            layer: layer.unwrap_or(0),
            n_layers: c.middle_layers() as u32,
        };
        let kv = &b.kv[step.layer];
        let buffers = [&b.q, kv, &self.weights.pool, &b.rows, &b.heads, &b.partials];
        r.push(
            "attention",
            attention::call(b.sizes.kv_type, tiling, params, buffers),
            over,
        );
    }

    /// Final norm and output projection of the rows that get logits, packed densely.
    fn logits<'b>(&'b self, r: &mut Recorder<'b>) {
        let (w, b) = (self.weights, self.buffers);
        let size = Size::Counted(OUTPUT_ROWS);
        let outputs = Over {
            list: b.lists.outputs(),
            size,
        };
        let dense = Over {
            list: b.lists.dense(),
            size,
        };
        self.norm_to(r, "final_norm", &w.final_norm, outputs, true);
        let head = w.lm_head.as_ref().unwrap_or(&w.embedding);
        let logits = Projection::new("lm_head", head, &b.normed, &b.logits);
        self.project(
            r,
            dense,
            Projection {
                unpadded: true,
                ..logits
            },
        );
    }
}

/// A linear map from one buffer to another.
struct Projection<'b> {
    role: &'static str,
    matrix: &'b Matrix,
    x: &'b wgpu::Buffer,
    y: &'b wgpu::Buffer,
    epilogue: Epilogue,
    /// Add to `y` instead of replacing it.
    accumulate: bool,
    /// Leave out the outputs before this one.
    first_output: u32,
    /// Rows of `y` are not padded to octets.
    unpadded: bool,
}

impl<'b> Projection<'b> {
    fn new(
        role: &'static str,
        matrix: &'b Matrix,
        x: &'b wgpu::Buffer,
        y: &'b wgpu::Buffer,
    ) -> Self {
        Self {
            role,
            matrix,
            x,
            y,
            epilogue: Epilogue::None,
            accumulate: false,
            first_output: 0,
            unpadded: false,
        }
    }

    fn accumulating(self) -> Self {
        Self {
            accumulate: true,
            ..self
        }
    }
}
