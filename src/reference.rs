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
use crate::schedule::{EffectiveLayer, Rule, Score, Step, Walk};

/// The result of one position.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// Logits `[vocab]`; empty where they were not asked for.
    pub logits: Vec<f32>,
    /// Cycles that ran.
    pub cycles: usize,
    /// The score of each cycle, -1 where it did not run. Empty where cycles have no scores.
    pub scores: Vec<f32>,
    /// The token drawn from the logits, where one was asked for.
    pub drawn: Option<u32>,
}

/// A model in host memory with the keys and values of the positions seen so far.
pub struct Reference<'m> {
    model: &'m Model,
    walk: Walk,
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
    /// Prepares `model` to run `walk`.
    pub fn new(model: &'m Model, walk: Walk) -> Result<Self> {
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
            cache: vec![vec![Vec::new(); walk.n_cycles]; model.config.n_layers],
            n_positions: 0,
            walk,
        })
    }

    /// From now on keys and values of skipped cycles come from there.
    pub fn set_kv_policy(&mut self, kv: KvPolicy) {
        self.walk.kv = kv;
    }

    /// Forgets all positions from `n` on.
    pub fn truncate(&mut self, n: usize) {
        self.cache
            .iter_mut()
            .flatten()
            .for_each(|rows| rows.truncate(n));
        self.n_positions = self.n_positions.min(n);
    }

    /// Runs the next position, token `id`, which leaves the cycles by `rule`.
    pub fn push(&mut self, id: u32, rule: &Rule, with_logits: bool) -> Output {
        let position = self.n_positions;
        self.n_positions += 1;
        let mut x = self.embed(id, position);
        let n_cycles = self.walk.n_cycles;
        let n_scores = self.walk.score.map_or(0, |_| n_cycles);
        let mut output = Output {
            cycles: n_cycles,
            scores: vec![-1.0; n_scores],
            ..Output::default()
        };
        let mut zero_attention = Vec::new();
        for i in 0..self.walk.steps.len() {
            match self.walk.steps[i] {
                Step::Layer(step) if step.is_skipped_after(output.cycles) => {}
                Step::Layer(step) => zero_attention.push(self.layer(step, &mut x, position)),
                Step::CycleEnd { cycle, norm } if cycle < output.cycles => {
                    if norm {
                        x = self.norm(&self.outer.final_norm, &x);
                    }
                    let n_layers = self.walk.cycle(cycle).count();
                    let layers = &zero_attention[zero_attention.len() - n_layers..];
                    let score = match self.walk.score {
                        Some(Score::ZeroAttention(reduce)) => Some(reduce.apply(layers)),
                        None => None,
                    };
                    if let Some(score) = score {
                        output.scores[cycle] = score as f32;
                    }
                    if cycle + 1 < n_cycles && rule.leaves(cycle + 1, score) {
                        output.cycles = cycle + 1;
                        self.fill_skipped(cycle, &x, position);
                    }
                }
                Step::CycleEnd { .. } => {}
            }
        }
        if with_logits {
            output.logits = self.logits(&x);
        }
        output
    }

    fn logits(&self, x: &[f64]) -> Vec<f32> {
        let head = self.outer.lm_head.as_ref().unwrap_or(&self.outer.embedding);
        let logits = match self.walk.final_norm {
            true => matvec(head, &self.norm(&self.outer.final_norm, x)),
            false => matvec(head, x),
        };
        logits.iter().map(|&v| v as f32).collect()
    }

    /// Keys and values of the cycles after `last`, which this position does not run.
    fn fill_skipped(&mut self, last: usize, x: &[f64], position: usize) {
        let layers: Vec<usize> = self.walk.cycle(last).map(|step| step.layer).collect();
        for layer in layers {
            let row = match self.walk.kv {
                KvPolicy::Propagate => self.project(layer, x, position).1,
                KvPolicy::Share => self.cache[layer][last][position].clone(),
            };
            for cycle in &mut self.cache[layer][last + 1..] {
                cycle.push(row.clone());
            }
        }
    }

    /// One effective layer on the residual stream `x` `[hidden]`.
    /// Returns the mean over query heads of the zero attention.
    fn layer(&mut self, step: EffectiveLayer, x: &mut [f64], position: usize) -> f64 {
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
    fn attention(&self, step: EffectiveLayer, q: &[f64]) -> (Vec<f64>, f64) {
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
