//! The whole model in plain Rust: the truth that every kernel is compared with, and the engine of
//! machines without an adapter.
//!
//! It takes one token at a time and sums in double precision. Read it from the bottom up:
//! `push` is the forward pass of one position, `layer` one effective layer, `attention` the
//! softmax with the zero token.

use crate::error::Result;
use crate::model::Model;
use crate::model::config::KvPolicy;
use crate::model::family::{Activation, NormKind, PositionKind};
use crate::model::tensor::Tensor;
use crate::model::weights::{Layer, Linear, Norm, Outer, Pool};
use crate::rope::{RopeTable, rotate};
use crate::schedule::{Schedule, Step};

/// The result of one position.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// Logits `[vocab]`; empty where they were not asked for.
    pub logits: Vec<f32>,
    /// Cycles that ran.
    pub cycles: usize,
    /// The score of each cycle, -1 where it did not run. Empty without a pool.
    pub scores: Vec<f32>,
}

/// A model in host memory with the keys and values of the positions seen so far.
pub struct Reference<'m> {
    model: &'m Model,
    schedule: Schedule,
    outer: Outer<'m>,
    layers: Vec<Layer<'m>>,
    rope: RopeTable,
    /// Keys and values, `[parameter layer][cycle][position]`, each `[n_kv_heads * head_dim]`.
    cache: Vec<Vec<Vec<KeyValue>>>,
    n_positions: usize,
}

#[derive(Clone)]
struct KeyValue {
    key: Vec<f64>,
    value: Vec<f64>,
}

impl<'m> Reference<'m> {
    /// Prepares `model` to run `schedule`.
    pub fn new(model: &'m Model, schedule: Schedule) -> Result<Self> {
        let weights = model.weights().shared();
        let layers: Result<Vec<_>> = (0..model.config.n_layers)
            .map(|i| weights.layer(i))
            .collect();
        let (layers, outer) = (layers?, weights.outer()?);
        model.checkpoint.check_unchanged()?;
        Ok(Self {
            model,
            outer,
            layers,
            rope: RopeTable::new(&model.config),
            cache: vec![vec![Vec::new(); schedule.n_cycles()]; model.config.n_layers],
            n_positions: 0,
            schedule,
        })
    }

    /// Forgets all positions from `n` on.
    pub fn truncate(&mut self, n: usize) {
        self.cache
            .iter_mut()
            .flatten()
            .for_each(|rows| rows.truncate(n));
        self.n_positions = self.n_positions.min(n);
    }

    /// Runs the next position, token `id`.
    pub fn push(&mut self, id: u32, with_logits: bool) -> Output {
        let position = self.n_positions;
        self.n_positions += 1;
        let mut x = self.embed(id, position);
        for i in 0..self.schedule.head.len() {
            self.layer(self.schedule.head[i], &mut x, position);
        }
        let (cycles, scores) = self.run_cycles(&mut x, position);
        for i in 0..self.schedule.tail.len() {
            self.layer(self.schedule.tail[i], &mut x, position);
        }
        let head = self.outer.lm_head.as_ref().unwrap_or(&self.outer.embedding);
        let logits = match with_logits {
            true => matvec(head, &self.norm(&self.outer.final_norm, &x)),
            false => Vec::new(),
        };
        Output {
            logits: logits.iter().map(|&v| v as f32).collect(),
            cycles,
            scores,
        }
    }

    /// Runs the middle layers until the position exits: cycles that ran, and their scores.
    fn run_cycles(&mut self, x: &mut [f64], position: usize) -> (usize, Vec<f32>) {
        let n_cycles = self.schedule.n_cycles();
        let mut scores = vec![
            -1.0;
            if self.schedule.has_scores {
                n_cycles
            } else {
                0
            }
        ];
        for cycle in 0..self.schedule.cycles.len() {
            let steps = self.schedule.cycles[cycle].clone();
            let zero: Vec<f64> = steps
                .iter()
                .map(|&step| self.layer(step, x, position))
                .collect();
            if self.schedule.has_scores {
                let score = self.schedule.exit.reduce.apply(&zero);
                scores[cycle] = score as f32;
                let threshold = self.schedule.exit.threshold.unwrap_or(f64::INFINITY);
                if self.schedule.may_exit_after(cycle) && score >= threshold {
                    self.fill_skipped(cycle, x, position);
                    return (cycle + 1, scores);
                }
            }
        }
        (n_cycles, scores)
    }

    /// Keys and values of the cycles after `last`, which this position does not run.
    fn fill_skipped(&mut self, last: usize, x: &[f64], position: usize) {
        for step in self.schedule.cycles[last].clone() {
            let row = match self.schedule.exit.kv {
                KvPolicy::Propagate => self.project(step.layer, x, position).1,
                KvPolicy::Share => self.cache[step.layer][last][position].clone(),
            };
            for cycle in &mut self.cache[step.layer][last + 1..] {
                cycle.push(row.clone());
            }
        }
    }

    /// One effective layer on the residual stream `x` `[hidden]`.
    /// Returns the mean over query heads of the zero attention.
    fn layer(&mut self, step: Step, x: &mut [f64], position: usize) -> f64 {
        let (q, row) = self.project(step.layer, x, position);
        self.cache[step.layer][step.cycle()].push(row);
        let (heads, zero_attention) = self.attention(step, &q);
        let layer = &self.layers[step.layer];
        add(x, &linear(&layer.o_proj, &heads));
        let h = linear(&layer.mlp_in, &self.norm(&layer.mlp_norm, x));
        let h = activate(self.model.config.activation, h);
        add(x, &linear(&layer.mlp_out, &h));
        zero_attention
    }

    /// Queries `[n_heads * head_dim]`, and the key and value, position-encoded.
    fn project(&self, layer: usize, x: &[f64], position: usize) -> (Vec<f64>, KeyValue) {
        let c = &self.model.config;
        let layer = &self.layers[layer];
        let mut q = linear(&layer.qkv, &self.norm(&layer.attn_norm, x));
        let value = q.split_off(c.q_dim() + c.kv_dim());
        let mut key = q.split_off(c.q_dim());
        if let Some([q_norm, k_norm]) = &layer.qk_norm {
            let norm = |norm, head: &mut [f64]| head.copy_from_slice(&self.norm(norm, head));
            q.chunks_mut(c.head_dim).for_each(|head| norm(q_norm, head));
            key.chunks_mut(c.head_dim)
                .for_each(|head| norm(k_norm, head));
        }
        if c.position == PositionKind::Rope {
            let heads = q.chunks_mut(c.head_dim).chain(key.chunks_mut(c.head_dim));
            let angles = self.rope.angles(position);
            heads.for_each(|head| rotate(&angles, head));
        }
        (q, KeyValue { key, value })
    }

    /// Attention of the newest position over the cache and the zero token.
    /// Returns the heads' outputs `[n_heads * head_dim]` and the mean zero attention.
    fn attention(&self, step: Step, q: &[f64]) -> (Vec<f64>, f64) {
        let c = &self.model.config;
        let rows = &self.cache[step.layer][step.cycle()];
        let window = c.windows[step.layer].unwrap_or(rows.len());
        let rows = &rows[rows.len().saturating_sub(window)..];
        let group = c.n_heads / c.n_kv_heads;
        let scale = 1.0 / (c.head_dim as f64).sqrt();
        let pool = self.model.pool.as_ref().zip(step.pool_row);
        let mut out = vec![0.0; c.q_dim()];
        let mut zero_sum = 0.0;
        let heads = q.chunks(c.head_dim).zip(out.chunks_mut(c.head_dim));
        for (head, (q, out)) in heads.enumerate() {
            let kv_head = (head / group) * c.head_dim..(head / group + 1) * c.head_dim;
            let zero = pool.map(|(pool, row)| zero_token(pool, row, head, c.n_heads));
            let s_0 = zero.map_or(f64::NEG_INFINITY, |(key, _)| scale * dot(q, key));
            let scores: Vec<f64> = rows
                .iter()
                .map(|row| {
                    let key = &row.key[kv_head.clone()];
                    scale * q.iter().zip(key).map(|(a, b)| a * b).sum::<f64>()
                })
                .collect();
            let max = scores.iter().copied().fold(s_0, f64::max);
            let p_0 = (s_0 - max).exp();
            let total = p_0 + scores.iter().map(|s| (s - max).exp()).sum::<f64>();
            if let Some((_, Some(value))) = zero {
                let weight = p_0 / total;
                out.iter_mut()
                    .zip(value)
                    .for_each(|(o, v)| *o += weight * f64::from(*v));
            }
            for (row, s) in rows.iter().zip(&scores) {
                let weight = (s - max).exp() / total;
                let value = &row.value[kv_head.clone()];
                out.iter_mut()
                    .zip(value)
                    .for_each(|(o, v)| *o += weight * v);
            }
            zero_sum += p_0 / total;
        }
        (out, zero_sum / c.n_heads as f64)
    }

    fn embed(&self, id: u32, position: usize) -> Vec<f64> {
        let mut row = vec![0.0; self.model.config.hidden];
        self.outer.embedding.read_row(id as usize, &mut row);
        let mut x: Vec<f64> = row.iter().map(|&v| f64::from(v)).collect();
        if let Some(positions) = &self.outer.positions {
            positions.read_row(position, &mut row);
            x.iter_mut()
                .zip(&row)
                .for_each(|(x, &p)| *x += f64::from(p));
        }
        x
    }

    fn norm(&self, norm: &Norm, x: &[f64]) -> Vec<f64> {
        let n = x.len() as f64;
        let eps = self.model.config.norm_eps;
        let mean = match self.model.config.norm {
            NormKind::Rms => 0.0,
            NormKind::Layer => x.iter().sum::<f64>() / n,
        };
        let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        let scale = 1.0 / (variance + eps).sqrt();
        let mut out: Vec<f64> = x
            .iter()
            .zip(&norm.weight)
            .map(|(v, &w)| (v - mean) * scale * f64::from(w))
            .collect();
        if let Some(bias) = &norm.bias {
            add_f32(&mut out, bias);
        }
        out
    }
}

/// Key and value of a pool row as query head `head` of `n_heads` sees them.
fn zero_token(pool: &Pool, row: usize, head: usize, n_heads: usize) -> (&[f32], Option<&[f32]>) {
    let width = pool.key.len() / (pool.n_rows * pool.n_heads);
    let at = (row * pool.n_heads + head * pool.n_heads / n_heads) * width;
    let range = at..at + width;
    let value = pool.value.as_ref().map(|v| &v[range.clone()]);
    (&pool.key[range], value)
}

fn linear(linear: &Linear, x: &[f64]) -> Vec<f64> {
    let mut out: Vec<f64> = linear
        .matrices
        .iter()
        .flat_map(|matrix| matvec(matrix, x))
        .collect();
    if let Some(bias) = &linear.bias {
        add_f32(&mut out, bias);
    }
    out
}

fn matvec(matrix: &Tensor, x: &[f64]) -> Vec<f64> {
    let mut row = vec![0.0; x.len()];
    (0..matrix.n_rows())
        .map(|i| {
            matrix.read_row(i, &mut row);
            dot(x, &row)
        })
        .collect()
}

/// Four running sums, so that the compiler may keep them in one vector register.
fn dot(x: &[f64], w: &[f32]) -> f64 {
    let mut sums = [0.0; 4];
    let (x4, w4) = (x.chunks_exact(4), w.chunks_exact(4));
    let rest: f64 = (x4.remainder().iter().zip(w4.remainder()))
        .map(|(a, &b)| a * f64::from(b))
        .sum();
    for (x, w) in x4.zip(w4) {
        for i in 0..4 {
            sums[i] += x[i] * f64::from(w[i]);
        }
    }
    sums.iter().sum::<f64>() + rest
}

fn activate(activation: Activation, mut h: Vec<f64>) -> Vec<f64> {
    match activation {
        Activation::SwiGlu => {
            let up = h.split_off(h.len() / 2);
            h.iter_mut()
                .zip(&up)
                .for_each(|(g, u)| *g = *g / (1.0 + (-*g).exp()) * u);
        }
        Activation::GeluTanh => h.iter_mut().for_each(|x| {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (*x + 0.044715 * x.powi(3));
            *x = 0.5 * *x * (1.0 + inner.tanh());
        }),
    }
    h
}

fn add(x: &mut [f64], y: &[f64]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

fn add_f32(x: &mut [f64], y: &[f32]) {
    x.iter_mut().zip(y).for_each(|(x, &y)| *x += f64::from(y));
}
