//! The whole model in plain Rust: the truth that every kernel is compared with, and the engine of
//! machines without an adapter.
//!
//! It takes one token at a time and sums in double precision. Read it from the bottom up:
//! `push` is the forward pass of one position, `layer` one effective layer, `attention` the
//! softmax with the zero token.

mod activation;
mod maps;
#[cfg(test)]
mod tests;

use crate::error::Result;
use crate::model::Model;
use crate::model::block::PostNorm;
use crate::model::config::KvPolicy;
use crate::model::family::NormKind;
use crate::model::role::Role;
use crate::model::weights::{ByRole, Norm, Pool};
use crate::rope::{RopeTable, rotate};
use crate::schedule::{Schedule, Step};
use activation::activate;
use maps::{add_f32, capped, dot, linear, normed};

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
    outer: ByRole<'m>,
    layers: Vec<ByRole<'m>>,
    ropes: Vec<RopeTable>,
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
            ropes: model.config.ropes.iter().map(RopeTable::new).collect(),
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
        let logits = match with_logits {
            true => self.logits(&x),
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
        let layer = step.layer;
        let (q, row) = self.project(layer, x, position);
        self.cache[layer][step.cycle()].push(row);
        let (heads, zero_attention) = self.attention(step, &q);
        let block = &self.model.config.blocks[layer];
        let linears = &self.layers[layer].linears;
        let branch = linear(&linears[&Role::OProj], &heads);
        let post = (block.attention_norms.post, Role::AttnPostNorm);
        self.add_branch(layer, post, branch, x);
        let h = self.branch_input(layer, Role::MlpNorm, x);
        let h = activate(block.mlp, linear(&linears[&Role::MlpIn], &h));
        let branch = linear(&linears[&Role::MlpOut], &h);
        let post = (block.mlp_norms.post, Role::MlpPostNorm);
        self.add_branch(layer, post, branch, x);
        zero_attention
    }

    /// The residual stream as a branch reads it: normed, where the block has a norm there.
    fn branch_input(&self, layer: usize, pre_norm: Role, x: &[f64]) -> Vec<f64> {
        match self.layers[layer].norms.get(&pre_norm) {
            Some(norm) => self.norm(norm, x),
            None => x.to_vec(),
        }
    }

    /// Adds a branch to the residual stream, with the norm after it.
    fn add_branch(
        &self,
        layer: usize,
        (post, role): (PostNorm, Role),
        branch: Vec<f64>,
        x: &mut [f64],
    ) {
        let multiplier = self.model.config.blocks[layer].residual_multiplier;
        let normed = |values: &[f64]| self.norm(&self.layers[layer].norms[&role], values);
        let branch = match post {
            PostNorm::OnBranch => normed(&branch),
            PostNorm::None | PostNorm::OnSum => branch,
        };
        let sums = x.iter_mut().zip(&branch);
        sums.for_each(|(x, y)| *x += multiplier * y);
        if post == PostNorm::OnSum {
            let sum = normed(x);
            x.copy_from_slice(&sum);
        }
    }

    /// Queries `[n_heads * head_dim]`, and the key and value, position-encoded.
    fn project(&self, layer: usize, x: &[f64], position: usize) -> (Vec<f64>, KeyValue) {
        let c = &self.model.config;
        let attention = &c.blocks[layer].attention;
        let h = self.branch_input(layer, Role::AttnNorm, x);
        let mut q = linear(&self.layers[layer].linears[&Role::Qkv], &h);
        let value = q.split_off(c.q_dim() + c.kv_dim());
        let mut key = q.split_off(c.q_dim());
        let norm_after_rope = attention.qk_norm.map(|norm| norm.after_rope);
        if norm_after_rope == Some(false) {
            self.norm_qk(layer, &mut q, &mut key);
        }
        if let Some(rope) = attention.rope {
            let heads = q.chunks_mut(c.head_dim).chain(key.chunks_mut(c.head_dim));
            let angles = self.ropes[rope].angles(position);
            heads.for_each(|head| rotate(&angles, head));
        }
        if norm_after_rope == Some(true) {
            self.norm_qk(layer, &mut q, &mut key);
        }
        (q, KeyValue { key, value })
    }

    /// The RMS norm of queries and keys: of a head each, or of all heads, as many values as it has
    /// weights.
    fn norm_qk(&self, layer: usize, q: &mut [f64], key: &mut [f64]) {
        for (role, values) in [(Role::QNorm, q), (Role::KNorm, key)] {
            let norm = &self.layers[layer].norms[&role];
            for values in values.chunks_mut(norm.weight.len()) {
                let normed = normed(NormKind::Rms, self.model.config.norm_eps, norm, values);
                values.copy_from_slice(&normed);
            }
        }
    }

    /// Attention of the newest position over the cache and the zero token.
    /// Returns the heads' outputs `[n_heads * head_dim]` and the mean zero attention.
    fn attention(&self, step: Step, q: &[f64]) -> (Vec<f64>, f64) {
        let c = &self.model.config;
        let block = &c.blocks[step.layer].attention;
        let rows = &self.cache[step.layer][step.cycle()];
        let window = block.window.unwrap_or(rows.len());
        let rows = &rows[rows.len().saturating_sub(window)..];
        let group = c.n_heads / c.n_kv_heads;
        let score = |product: f64| capped(block.scale * product, block.soft_cap);
        let pool = self.model.pool.as_ref().zip(step.pool_row);
        let mut out = vec![0.0; c.q_dim()];
        let mut zero_sum = 0.0;
        let heads = q.chunks(c.head_dim).zip(out.chunks_mut(c.head_dim));
        for (head, (q, out)) in heads.enumerate() {
            let kv_head = (head / group) * c.head_dim..(head / group + 1) * c.head_dim;
            let zero = pool.map(|(pool, row)| zero_token(pool, row, head, c.n_heads));
            let s_0 = zero.map_or(f64::NEG_INFINITY, |(key, _)| score(dot(q, key)));
            let scores: Vec<f64> = rows
                .iter()
                .map(|row| {
                    let key = &row.key[kv_head.clone()];
                    score(q.iter().zip(key).map(|(a, b)| a * b).sum())
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
        let c = &self.model.config;
        let mut row = vec![0.0; c.hidden];
        let linears = &self.outer.linears;
        linears[&Role::Embedding].matrices[0].read_row(id as usize, &mut row);
        let tokens = row.iter().map(|&v| c.embedding_multiplier * f64::from(v));
        let mut x: Vec<f64> = tokens.collect();
        if let Some(positions) = linears.get(&Role::Positions) {
            positions.matrices[0].read_row(position, &mut row);
            add_f32(&mut x, &row);
        }
        x
    }

    /// The final norm, and the output projection.
    fn logits(&self, x: &[f64]) -> Vec<f64> {
        let (c, linears) = (&self.model.config, &self.outer.linears);
        let head = linears.get(&Role::LmHead);
        let head = head.unwrap_or(&linears[&Role::Embedding]);
        let x = self.norm(&self.outer.norms[&Role::FinalNorm], x);
        let logit = |sum: f64| capped(c.logits_multiplier * sum, c.logits_soft_cap);
        linear(head, &x).into_iter().map(logit).collect()
    }

    fn norm(&self, norm: &Norm, x: &[f64]) -> Vec<f64> {
        let c = &self.model.config;
        normed(c.norm, c.norm_eps, norm, x)
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
