//! A generated text and the state of its engine after it, to compare two ways of generating.

use std::ops::ControlFlow;

use anyhow::{Result, ensure};
use ztt_wgpu::engine::sampling::{Sampler, SamplingOptions};
use ztt_wgpu::engine::{Engine, Logits};
use ztt_wgpu::generate::{StopRules, Summary, Token, generate};
use ztt_wgpu::model::tokenizer::Tokenizer;

use crate::compare::same;

/// A text to be generated.
pub struct Asked<'a> {
    pub tokenizer: Option<&'a Tokenizer>,
    pub prompt: &'a [u32],
    pub sampling: SamplingOptions,
    pub rules: StopRules,
    /// Tokens after which the receiver wants no more.
    pub wanted: usize,
}

/// The result of a generation, and the state of the engine after it.
pub struct Generated {
    pub tokens: Vec<Token>,
    pub summary: Summary,
    pub n_positions: usize,
    /// The logits of a further token, where the context has room for it.
    after: Vec<f32>,
}

impl Generated {
    pub fn by(engine: &mut Engine, asked: Asked) -> Result<Self> {
        let mut tokens = Vec::new();
        let receive = |token: &Token| {
            tokens.push(token.clone());
            match tokens.len() < asked.wanted {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        };
        let summary = pollster::block_on(generate(
            engine,
            asked.tokenizer,
            asked.prompt,
            &mut Sampler::new(asked.sampling, asked.prompt),
            &asked.rules,
            receive,
        ))?;
        let n_positions = engine.n_positions();
        let after = match n_positions < engine.n_ctx() {
            true => pollster::block_on(engine.forward(&[7], Logits::Last))?,
            false => Vec::new(),
        };
        Ok(Self {
            tokens,
            summary,
            n_positions,
            after: after.into_iter().flat_map(|o| o.logits).collect(),
        })
    }

    /// Whether tokens, counts and what follows are those of `expected`.
    pub fn equals(&self, what: &str, expected: &Self) -> Result<()> {
        let shown = |g: &Self| -> Vec<String> {
            g.tokens.iter().map(|token| format!("{token:?}")).collect()
        };
        same(&format!("{what}: tokens"), &shown(self), &shown(expected))?;
        let counts = |g: &Self| {
            let s = &g.summary;
            let counted = (s.n_generated, s.n_passes, s.exits.clone(), g.n_positions);
            (s.finish, counted)
        };
        ensure!(
            counts(self) == counts(expected),
            "{what}: {:?}, expected {:?}",
            counts(self),
            counts(expected)
        );
        let after = format!("{what}: what follows");
        same(&after, &self.after, &expected.after)
    }
}
