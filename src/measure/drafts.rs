//! What guesses gain on a text: prompts taken from it are continued with guesses and without.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::stats::Stats;
pub use super::texts::Place;
use crate::engine::sampling::{Sampler, SamplingOptions};
use crate::engine::{DraftCounts, Drafts, Engine, Options};
use crate::error::{Error, Result};
use crate::generate::{StopRules, Summary, generate};
use crate::model::Model;

/// What is continued, and how.
#[derive(Clone, Debug)]
pub struct DraftTest {
    /// With the guesses to be measured, and room for a prompt and what follows it.
    pub options: Options,
    pub sampling: SamplingOptions,
    /// Tokens of a prompt.
    pub n_prompt: usize,
    /// Tokens that follow it.
    pub n_gen: usize,
    /// Prompts, taken one after the other from the text.
    pub repetitions: usize,
}

/// What guesses gained.
#[derive(Clone, Debug)]
pub struct DraftGain {
    /// Tokens a second without guesses, and with.
    pub plain: Stats,
    pub drafted: Stats,
    pub counts: DraftCounts,
    /// Weights that a guess by depth reads, as a part of those of a pass.
    pub share: f64,
}

impl DraftGain {
    /// How many times as fast guesses make a text.
    pub fn speed_up(&self) -> f64 {
        self.drafted.median / self.plain.median
    }

    /// The same as the guesses that were kept let expect, where time is that of reading weights: a
    /// verification reads them once, and a guess by depth its share of them.
    pub fn predicted(&self) -> f64 {
        let a_pass = self.counts.n_by_depth as f64 / self.counts.n_passes.max(1) as f64;
        self.counts.tokens_a_pass() / (1.0 + a_pass * self.share)
    }
}

/// Continues prompts of `ids`, each without guesses and with, by turns.
///
/// # Errors
/// [`Error::TooFewTokens`] where the text is shorter than a prompt, [`Error::Measurement`] where a
/// text with guesses differs from the text without; those of the engine.
pub fn draft_gain(
    model: &Model,
    place: &Place,
    test: &DraftTest,
    ids: &[u32],
) -> Result<DraftGain> {
    if ids.len() < test.n_prompt || test.n_prompt == 0 {
        return Err(Error::TooFewTokens {
            least: test.n_prompt.max(1),
            found: ids.len(),
        });
    }
    let engine = |drafts| {
        let options = Options {
            drafts,
            ..test.options.clone()
        };
        let mut engine = match place {
            Place::Host => Engine::on_host(model, &options)?,
            Place::Device(device) => Engine::on_device(model, device, &options)?,
        };
        // No cache grows while something is timed.
        pollster::block_on(engine.set_room(options.n_ctx))?;
        Ok::<_, Error>(engine)
    };
    let mut plain = engine(Drafts::NONE)?;
    let mut drafted = engine(test.options.drafts)?;
    let (mut plain_speeds, mut drafted_speeds) = (Vec::new(), Vec::new());
    let mut counts = DraftCounts::default();
    let prompts: Vec<&[u32]> = ids.chunks_exact(test.n_prompt).collect();
    // Kernels are compiled for the first of them, which is not counted.
    for i in 0..=test.repetitions {
        let prompt = prompts[i % prompts.len()];
        let (expected, without) = continued(&mut plain, test, prompt)?;
        let (found, with) = continued(&mut drafted, test, prompt)?;
        if found != expected {
            let at = found.iter().zip(&expected).take_while(|(a, b)| a == b);
            return Err(Error::Measurement(format!(
                "`{}`: expected the text without guesses, found another from token {} on",
                model.name,
                at.count()
            )));
        }
        if i == 0 {
            continue;
        }
        plain_speeds.push(speed(&without));
        drafted_speeds.push(speed(&with));
        if let Some(of_text) = &with.drafts {
            counts.add(of_text);
        }
    }
    Ok(DraftGain {
        plain: Stats::new(&plain_speeds),
        drafted: Stats::new(&drafted_speeds),
        counts,
        share: drafted.draft_share(),
    })
}

/// Tokens a second after the prompt.
fn speed(summary: &Summary) -> f64 {
    summary.n_passes as f64 / summary.pass_time.as_secs_f64().max(1e-9)
}

/// The tokens that follow a prompt.
fn continued(
    engine: &mut Engine<'_>,
    test: &DraftTest,
    prompt: &[u32],
) -> Result<(Vec<u32>, Summary)> {
    engine.truncate(0);
    let rules = StopRules {
        max_tokens: test.n_gen,
        eos: Vec::new(),
        strings: Vec::new(),
        interrupt: Arc::default(),
    };
    let mut ids = Vec::with_capacity(test.n_gen);
    let mut sampler = Sampler::new(test.sampling.clone(), prompt);
    let summary = pollster::block_on(generate(
        engine,
        None,
        prompt,
        &mut sampler,
        &rules,
        |token| {
            ids.push(token.id);
            ControlFlow::Continue(())
        },
    ))?;
    Ok((ids, summary))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prediction_is_the_formula_of_equal_guesses() {
        // Three guesses a pass by a quarter of the model, 0.9, 0.81 and 0.729 of which are kept.
        let counts = DraftCounts {
            n_passes: 1000,
            n_tokens: 1000 + 900 + 810 + 729,
            drafted: vec![1000; 3],
            accepted: vec![900, 810, 729],
            n_by_depth: 3000,
        };
        let gain = DraftGain {
            plain: Stats::new(&[10.0]),
            drafted: Stats::new(&[15.0]),
            counts,
            share: 0.25,
        };
        assert!((gain.predicted() - 3.439 / 1.75).abs() < 1e-9);
        assert!((gain.speed_up() - 1.5).abs() < 1e-9);
    }
}
