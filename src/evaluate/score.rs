//! The likelihood of every token of a text, as a model predicts it.

use std::time::Duration;

use web_time::Instant;

use super::windows::windows;
use crate::engine::{Engine, Logits, Wants};
use crate::error::{Error, Result};
use crate::reference::Output;

/// Positions whose logits are in memory at once.
const CHUNK: usize = 128;

/// The score of one token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// `-ln p` of the token, given those before it.
    pub nats: f64,
    /// The token that was likeliest instead of it, or itself.
    pub top: u32,
    /// Cycles run by the position that predicts it.
    pub cycles: usize,
}

/// A text that was run, with every token but the first scored.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Scores in the order of the text, from its second token.
    pub scored: Vec<Scored>,
    /// Positions that ran, context included.
    pub n_positions: usize,
    /// The time that these positions took.
    pub time: Duration,
}

/// Scores `ids` on an engine made for [`Logits::All`], in windows of its whole context.
/// `progress` gets the positions run since it was last called.
///
/// # Errors
/// Those of [`windows`] and of [`Engine::forward`].
pub async fn evaluate(
    engine: &mut Engine<'_>,
    ids: &[u32],
    progress: &dyn Fn(usize),
) -> Result<Evaluation> {
    let windows = windows(ids.len(), engine.n_ctx())?;
    let mut scored = Vec::with_capacity(ids.len() - 1);
    let mut n_positions = 0;
    let start = Instant::now();
    for window in windows {
        engine.truncate(0);
        // A token is predicted by the position before it.
        let first = window.first_scored - 1;
        for context in ids[window.tokens.start..first].chunks(CHUNK) {
            engine.forward(context, Logits::Last).await?;
            progress(context.len());
        }
        let targets = ids[window.first_scored..window.tokens.end].chunks(CHUNK);
        let sources = ids[first..window.tokens.end - 1].chunks(CHUNK);
        for (sources, targets) in sources.zip(targets) {
            // What is predicted here counts as drawn, the context before it as a prompt.
            let rule = engine.rules().drawn;
            let running = engine.forward_by(rule, sources, Logits::All, Wants::LOGITS);
            let outputs = running.await?;
            for (output, &target) in outputs.iter().zip(targets) {
                scored.push(score(output, target)?);
            }
            progress(sources.len());
        }
        n_positions += window.n_positions();
    }
    Ok(Evaluation {
        scored,
        n_positions,
        time: start.elapsed(),
    })
}

/// Scores the token `target` by the logits of the position before it.
fn score(output: &Output, target: u32) -> Result<Scored> {
    let Some(&logit) = output.logits.get(target as usize) else {
        return Err(Error::TokenOutside {
            id: i64::from(target),
            vocab: output.logits.len(),
        });
    };
    let (top, greatest) = likeliest(&output.logits);
    let greatest = f64::from(greatest);
    let below = |logit: f32| f64::from(logit) - greatest;
    let sum: f64 = output.logits.iter().map(|&l| below(l).exp()).sum();
    Ok(Scored {
        // -log_softmax, in double precision.
        nats: sum.ln() - below(logit),
        top,
        cycles: output.cycles,
    })
}

/// The greatest logit and its token, the lowest of equals.
fn likeliest(logits: &[f32]) -> (u32, f32) {
    let mut best = (0, f32::NEG_INFINITY);
    for (id, &logit) in (0..).zip(logits) {
        if logit > best.1 {
            best = (id, logit);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(logits: &[f32]) -> Output {
        Output {
            logits: logits.to_vec(),
            cycles: 2,
            ..Output::default()
        }
    }

    #[test]
    fn known_probabilities() {
        // Probabilities 1/8, 1/2, 3/8.
        let logits = [1f32, 4.0, 3.0].map(f32::ln);
        for (target, p) in [(0, 0.125f64), (1, 0.5), (2, 0.375)] {
            let scored = score(&output(&logits), target).unwrap();
            assert!((scored.nats + p.ln()).abs() < 1e-6);
            assert_eq!((scored.top, scored.cycles), (1, 2));
        }
    }

    #[test]
    fn great_logits_do_not_overflow() {
        let scored = score(&output(&[3e38, -3e38, 3e38]), 2).unwrap();
        assert!((scored.nats - 2f64.ln()).abs() < 1e-9);
        assert_eq!(scored.top, 0);
    }

    #[test]
    fn a_token_without_a_logit_is_refused() {
        assert!(score(&output(&[0.0, 1.0]), 2).is_err());
    }
}
