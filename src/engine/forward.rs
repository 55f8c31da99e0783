//! The forward pass as a list of kernels.
//!
//! Everything that changes from token to token (ids, positions, which rows are in the batch)
//! lies in buffers, so that the list is built once for a session and encoded for every batch.
//! `layer` is the transformer block; `pass` is the walk over head, cycles and tail.

use super::batch::BatchRows;
use super::buffers::{Buffers, attention_shape};
use super::kv_cache::Kv;
use super::layout::{OCTET, padded};
use super::recorder::{DispatchSizes, Over, Pass, Phase, Recorder, Size};
use super::weights::{Matrix, NormBuffer, Store, Weights};
use crate::gpu::{Gpu, KernelClass};
use crate::kernels::attention::Tiling;
use crate::kernels::linear::{Batch, Epilogue, InputNorm};
use crate::kernels::{
    Resource, attention, embed, exit, kv_copy, layer_norm, linear, pack_rows, qkv_store, rms_norm,
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
    pub rows: BatchRows,
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
        self.qkv(r, "qkv_proj", step.layer, Cycles::one(step.cycle()), over);
        self.attention(r, step, over);
        let o_proj = Projection::new("o_proj", &w.o_proj, &b.heads, &b.x);
        self.project(r, over, o_proj.accumulating());
        let (mlp_norm, x) = self.norm_on_the_way(r, "mlp_norm", &w.mlp_norm, over);
        let mlp_in = Projection::new("mlp_in", &w.mlp_in, x, &b.mlp);
        self.project(r, over, mlp_in.normed(mlp_norm).activated(activation));
        let mlp_out = Projection::new("mlp_out", &w.mlp_out, &b.mlp, &b.x);
        self.project(r, over, mlp_out.accumulating());
    }

    /// Queries, keys and values of a layer: queries to `q`, the others to the cache of `cycles`.
    /// Those filled for later cycles need no queries.
    fn qkv<'b>(
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
            q: match self.weights.kernels {
                KernelClass::Texture => Resource::Texture(&b.textures.q),
                KernelClass::Subgroup | KernelClass::Workgroup => Resource::Buffer(&b.q),
            },
            kv: b.kv[layer].write(),
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
        let call = qkv_store::call(params, &b.qkv, qk_norm, &b.nothing, &b.rows, to);
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

    /// Keys and values of the cycles after `cycle` for the rows that leave after it.
    fn fill_skipped<'b>(&'b self, r: &mut Recorder<'b>, cycle: usize, steps: &[Step]) {
        let (c, b) = (self.config, self.buffers);
        let leaving = Over {
            list: b.lists.leaving(cycle),
            size: Size::Leaving,
        };
        let n_skipped = self.schedule.n_cycles() - cycle - 1;
        for step in steps {
            if self.schedule.exit.kv == KvPolicy::Share {
                let kv = &b.kv[step.layer];
                let params = kv_copy::Params {
                    n_kv_heads: c.n_kv_heads as u32,
                    kv_places: kv.places(&b.sizes),
                    head_octets: (padded(c.head_dim) / OCTET) as u32,
                    list: leaving.list,
                    cycle: cycle as u32,
                    n_copies: n_skipped as u32,
                };
                let call = kv_copy::call(b.sizes.kv_type, params, &b.rows, kv.copy(cycle));
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
        over: Over,
        sizes: &'b DispatchSizes,
    ) {
        let (c, b, rule) = (self.config, self.buffers, &self.schedule.exit);
        let decides = self.schedule.may_exit_after(cycle);
        let params = exit::Params {
            n_layers: c.middle_layers() as u32,
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
        let buffers = [&b.zeros, grids, &b.rows, &b.progress, dispatches];
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

    /// The norm of the residual stream: left to the map that reads a single row, or, of many
    /// rows, done before it. Returns what is left to do, and what the map reads.
    fn norm_on_the_way<'b>(
        &'b self,
        r: &mut Recorder<'b>,
        role: &'static str,
        norm: &'b NormBuffer,
        over: Over,
    ) -> (Option<&'b NormBuffer>, &'b wgpu::Buffer) {
        match self.rows.batch() {
            Batch::One => (Some(norm), &self.buffers.x),
            Batch::Many => {
                self.norm(r, role, norm, over, false);
                (None, &self.buffers.normed)
            }
        }
    }

    /// The residual stream normed, row by row; `dense` puts the i-th listed row into row i.
    fn norm<'b>(
        &'b self,
        r: &mut Recorder<'b>,
        role: &'static str,
        norm: &'b NormBuffer,
        over: Over,
        dense: bool,
    ) {
        let (c, b) = (self.config, self.buffers);
        let (n_cols, stride) = (c.hidden as u32, padded(c.hidden) as u32);
        let (list, dense, eps) = (over.list, u32::from(dense), c.norm_eps as f32);
        let buffers = [&b.x, &norm.0, &b.rows, &b.normed];
        let call = match c.norm {
            NormKind::Layer => layer_norm::call(
                layer_norm::Params {
                    n_cols,
                    stride,
                    list,
                    dense,
                    eps,
                },
                buffers,
            ),
            NormKind::Rms => rms_norm::call(
                rms_norm::Params {
                    n_cols,
                    stride,
                    list,
                    dense,
                    eps,
                },
                buffers,
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
        let batch = match is_one {
            true => Batch::One,
            false => self.rows.batch(),
        };
        if self.weights.kernels == KernelClass::Texture && batch == Batch::Many {
            let params = pack_rows::Params {
                n_octets: matrix.n_octets,
                list: over.list,
            };
            let (x, rows) = (p.x, &self.buffers.rows);
            r.push(
                "pack_rows",
                pack_rows::call(params, x, rows, &self.buffers.textures.packed),
                over,
            );
        }
        let (params, output) = p.to.unwrap_or((
            linear::Params::default(),
            linear::Output::Rows {
                y: p.y,
                epilogue: p.epilogue,
            },
        ));
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
                first_output: first,
                list: over.list,
                has_bias: u32::from(matrix.bias.is_some()),
                n_cols: self.config.hidden as u32,
                eps: self.config.norm_eps as f32,
                y_stride: if p.unpadded {
                    n_columns
                } else {
                    padded(n_columns as usize) as u32
                },
                accumulate: u32::from(p.accumulate),
                ..params
            };
            let nothing = &self.buffers.nothing;
            let operands = linear::Operands {
                x: p.x,
                packed: &self.buffers.textures.packed,
                bias: matrix.bias.as_ref().unwrap_or(nothing),
                rows: &self.buffers.rows,
                norm: p.norm.map_or(nothing, |norm| &norm.0),
                input_norm: match (p.norm, self.config.norm) {
                    (None, _) => InputNorm::None,
                    (Some(_), NormKind::Rms) => InputNorm::Rms,
                    (Some(_), NormKind::Layer) => InputNorm::Layer,
                },
                subgroups: self.weights.kernels == KernelClass::Subgroup,
            };
            let weights = part.store.resource();
            let call = linear::call(batch, matrix.dtype, params, weights, operands, output);
            r.push(p.role, call, over);
        }
    }

    /// The kernels that this model's family has no use for and others have, on this model's
    /// shapes: for measuring.
    pub fn of_other_families<'b>(&'b self, r: &mut Recorder<'b>) {
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
            let norm = &self.weights.final_norm.0;
            let buffers = [&b.x, norm, &b.rows, &b.normed];
            r.push("layer_norm", layer_norm::call(params, buffers), over);
        }
    }

    fn tiling(&self) -> Tiling {
        let shape = attention_shape(self.config, self.buffers.sizes.n_ctx);
        match self.rows {
            BatchRows::One => Tiling::one_row(shape),
            BatchRows::OfOneSequence => Tiling::many_rows(shape),
            BatchRows::OfSeveral => Tiling::apart(shape),
        }
    }

    fn attention<'b>(&'b self, r: &mut Recorder<'b>, step: Step, over: Over) {
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
        let (kv_type, rows) = (b.sizes.kv_type, &b.rows);
        let (pool, out, zeros) = (&self.weights.pool, &b.heads, &b.zeros);
        let calls = match (&b.kv[step.layer], pool) {
            (Kv::Buffer(kv), Store::Buffer(pool)) => {
                let buffers = attention::Buffers {
                    q: &b.q,
                    kv,
                    pool,
                    rows,
                    out,
                    zeros,
                    parts: &b.parts,
                };
                attention::in_buffers(kv_type, self.tiling(), params, buffers)
            }
            (Kv::Texture(kv), Store::Texture(_, pool)) => {
                let textures = attention::Textures {
                    q: &b.textures.q,
                    kv: &kv.read,
                    pool,
                    rows,
                    scores: &b.textures.scores,
                    out,
                    zeros,
                };
                let apart = self.rows == BatchRows::OfSeveral;
                attention::in_textures(kv_type, b.sizes.n_ctx as u32, apart, params, textures)
            }
            _ => unreachable!("cache and pool are of one class"),
        };
        for (call, role) in calls {
            r.push(role, call, over);
        }
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
        self.norm(r, "final_norm", &w.final_norm, outputs, true);
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

/// Cycles whose cache is written.
#[derive(Clone, Copy)]
struct Cycles {
    first: usize,
    n: usize,
    with_queries: bool,
}

impl Cycles {
    /// The one that is computed.
    fn one(cycle: usize) -> Self {
        Self {
            first: cycle,
            n: 1,
            with_queries: true,
        }
    }
}

/// A linear map from one buffer to another.
struct Projection<'b> {
    role: &'static str,
    matrix: &'b Matrix,
    x: &'b wgpu::Buffer,
    y: &'b wgpu::Buffer,
    /// The norm that a single row passes on its way in.
    norm: Option<&'b NormBuffer>,
    epilogue: Epilogue,
    /// Add to `y` instead of replacing it.
    accumulate: bool,
    /// Leave out the outputs before this one.
    first_output: u32,
    /// Rows of `y` are not padded to octets.
    unpadded: bool,
    /// Where outputs go instead of `y`, with the parameters that say so.
    to: Option<(linear::Params, linear::Output<'b>)>,
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
            norm: None,
            epilogue: Epilogue::None,
            accumulate: false,
            first_output: 0,
            unpadded: false,
            to: None,
        }
    }

    fn accumulating(self) -> Self {
        Self {
            accumulate: true,
            ..self
        }
    }

    fn normed(self, norm: Option<&'b NormBuffer>) -> Self {
        Self { norm, ..self }
    }

    fn activated(self, epilogue: Epilogue) -> Self {
        Self { epilogue, ..self }
    }
}
