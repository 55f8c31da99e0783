//! The whole model in plain Rust: the truth that every kernel is compared with, and the engine of
//! machines without an adapter.
//!
//! It takes one token at a time and sums in double precision. Read it from the bottom up:
//! `push` is the forward pass of one position, `layer` one effective layer, `attention` the
//! softmax with the zero token.

mod activation;
mod cache;
mod maps;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::error::Result;
use crate::kv_type::KvType;
use crate::model::Model;
use crate::model::block::PostNorm;
use crate::model::config::KvPolicy;
use crate::model::family::NormKind;
use crate::model::role::Role;
use crate::model::weights::{ByRole, Norm};
use crate::rope::{RopeTable, rotate};
use crate::schedule::{EffectiveLayer, Rule, Score, Step, Walk};
use activation::activate;
use cache::{Cache, KeyValue, Rounding};
use maps::{add_f32, capped, dot, linear, normed};

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
    /// The token that was drafted for the position after it, from the first cycles or layers.
    pub drafted: Option<u32>,
}

/// A model in host memory with the keys and values of the positions seen so far.
pub struct Reference<'m> {
    model: &'m Model,
    walk: Walk,
    outer: ByRole<'m>,
    layers: Vec<ByRole<'m>>,
    ropes: Vec<RopeTable>,
    cache: Cache,
    /// Of keys and values; `None`: doubles are kept.
    rounding: Option<Rounding>,
    n_positions: usize,
}

/// A position on its way through the walk.
#[derive(Clone)]
pub(crate) struct Position {
    /// Its place in the sequence.
    at: usize,
    /// The residual stream, `[hidden]`.
    x: Vec<f64>,
    /// Of the layers that have run.
    zero_attention: Vec<f64>,
    /// The chance that the learned gate has let it run on so far.
    survival: f64,
    pub(crate) output: Output,
}

impl<'m> Reference<'m> {
    /// Prepares `model` to run `walk`.
    pub fn new(model: &'m Model, walk: Walk) -> Result<Self> {
        let weights = model.weights().shared();
        let layers = (0..model.config.n_layers).map(|i| weights.layer(i));
        let (layers, outer) = (layers.collect::<Result<_>>()?, weights.outer()?);
        model.checkpoint.check_unchanged()?;
        Ok(Self {
            model,
            outer,
            layers,
            ropes: model.config.ropes.iter().map(RopeTable::new).collect(),
            cache: Cache::new(model.config.n_layers, walk.n_cycles),
            rounding: None,
            n_positions: 0,
            walk,
        })
    }

    /// From now on keys and values are rounded as a device rounds them whose cache is of this type.
    pub fn round_kv(&mut self, kv_type: KvType) {
        self.rounding = Some(Rounding::new(kv_type, &self.model.config));
    }

    /// From now on keys and values of skipped cycles come from there.
    pub fn set_kv_policy(&mut self, kv: KvPolicy) {
        self.walk.kv = kv;
    }

    /// Forgets all positions from `n` on.
    pub fn truncate(&mut self, n: usize) {
        self.cache.truncate(n);
        self.n_positions = self.n_positions.min(n);
    }

    /// Runs the next position, token `id`, which leaves the cycles by `rule`.
    pub fn push(&mut self, id: u32, rule: &Rule, with_logits: bool) -> Output {
        let mut position = self.begin(id);
        self.steps(0..self.walk.steps.len(), rule, &mut position);
        if with_logits {
            position.output.logits = self.logits(&position);
        }
        position.output
    }

    /// The next position, token `id`, before the first step of the walk.
    pub(crate) fn begin(&mut self, id: u32) -> Position {
        let at = self.n_positions;
        self.n_positions += 1;
        let n_scores = self.walk.score.map_or(0, |_| self.walk.n_cycles);
        Position {
            at,
            x: self.embed(id, at),
            zero_attention: Vec::new(),
            survival: 1.0,
            output: Output {
                cycles: self.walk.n_cycles,
                scores: vec![-1.0; n_scores],
                ..Output::default()
            },
        }
    }

    /// Runs steps of the walk on a position as it stands.
    pub(crate) fn steps(&mut self, steps: Range<usize>, rule: &Rule, position: &mut Position) {
        for i in steps {
            match self.walk.steps[i] {
                Step::Layer(step) if step.is_skipped_after(position.output.cycles) => {}
                Step::Layer(step) => {
                    let zero = self.layer(step, &mut position.x, position.at);
                    position.zero_attention.push(zero);
                }
                Step::CycleEnd { cycle, norm } if cycle < position.output.cycles => {
                    if norm {
                        let norm = &self.outer.norms[&Role::FinalNorm];
                        position.x = self.norm(norm, &position.x);
                    }
                    self.end_cycle(cycle, rule, position);
                }
                Step::CycleEnd { .. } => {}
            }
        }
    }

    /// The score of a cycle that has run, and whether the position leaves after it.
    fn end_cycle(&mut self, cycle: usize, rule: &Rule, position: &mut Position) {
        let score = self.walk.score.map(|score| match score {
            Score::ZeroAttention(reduce) => {
                let n_layers = self.walk.cycle(cycle).count();
                let layers = &position.zero_attention[position.zero_attention.len() - n_layers..];
                reduce.apply(layers)
            }
            Score::Gate => {
                position.survival *= 1.0 - self.gate(&position.x);
                match cycle + 1 == self.walk.n_cycles.min(rule.max_cycles) {
                    true => 1.0,
                    false => 1.0 - position.survival,
                }
            }
        });
        if let Some(score) = score {
            position.output.scores[cycle] = score as f32;
        }
        if cycle + 1 < self.walk.n_cycles && rule.leaves(cycle + 1, score) {
            position.output.cycles = cycle + 1;
            self.fill_skipped(cycle, &position.x, position.at);
        }
    }

    /// The chance that the learned gate lets the residual stream `x` leave.
    fn gate(&self, x: &[f64]) -> f64 {
        let logit = linear(&self.outer.linears[&Role::ExitGate], x)[0];
        1.0 / (1.0 + (-logit).exp())
    }

    /// Keys and values of the cycles after `last`, which this position does not run.
    fn fill_skipped(&mut self, last: usize, x: &[f64], position: usize) {
        let layers: Vec<usize> = self.walk.cycle(last).map(|step| step.layer).collect();
        for layer in layers {
            let row = match self.walk.kv {
                KvPolicy::Propagate => self.project(layer, x, position).1,
                KvPolicy::Share => self.cache.rows(layer, last)[position].clone(),
            };
            for cycle in last + 1..self.walk.n_cycles {
                self.cache.keep(layer, cycle, position, row.clone());
            }
        }
    }

    /// One effective layer on the residual stream `x` `[hidden]`.
    /// Returns the mean over query heads of the zero attention.
    fn layer(&mut self, step: EffectiveLayer, x: &mut [f64], position: usize) -> f64 {
        let layer = step.layer;
        let (q, row) = self.project(layer, x, position);
        self.cache.keep(layer, step.cycle(), position, row);
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
        let mut row = KeyValue { key, value };
        if let Some(rounding) = &self.rounding {
            rounding.round(&mut row);
        }
        (q, row)
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
    fn attention(&self, step: EffectiveLayer, q: &[f64]) -> (Vec<f64>, f64) {
        let c = &self.model.config;
        let block = &c.blocks[step.layer].attention;
        let rows = self.cache.rows(step.layer, step.cycle());
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
            let zero = pool.map(|(pool, row)| pool.zero_token(row, head, c.n_heads));
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
                let sums = out.iter_mut().zip(value);
                sums.for_each(|(o, v)| *o += weight * f64::from(*v));
            }
            for (row, s) in rows.iter().zip(&scores) {
                let weight = (s - max).exp() / total;
                let value = &row.value[kv_head.clone()];
                let sums = out.iter_mut().zip(value);
                sums.for_each(|(o, v)| *o += weight * v);
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

    /// The final norm, unless the last cycle ended with it, and the output projection.
    pub(crate) fn logits(&self, Position { x, .. }: &Position) -> Vec<f32> {
        let (c, linears) = (&self.model.config, &self.outer.linears);
        let head = linears.get(&Role::LmHead);
        let head = head.unwrap_or(&linears[&Role::Embedding]);
        let x = match self.walk.final_norm {
            true => self.norm(&self.outer.norms[&Role::FinalNorm], x),
            false => x.clone(),
        };
        let logit = |sum: f64| capped(c.logits_multiplier * sum, c.logits_soft_cap) as f32;
        linear(head, &x).into_iter().map(logit).collect()
    }

    fn norm(&self, norm: &Norm, x: &[f64]) -> Vec<f64> {
        let c = &self.model.config;
        normed(c.norm, c.norm_eps, norm, x)
    }
}
