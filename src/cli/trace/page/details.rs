//! The details of each position on the page, for its script.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::cli::trace::Trace;
use crate::cli::trace::position::{Position, token_name, token_text};
use crate::error::Result;
use crate::reference::Output;

/// Candidates of a position that the page keeps: more would make it large, and nobody reads them.
const MAX_CANDIDATES: usize = 10;

/// Names are kept once for all positions.
#[derive(Serialize)]
pub struct Details {
    threshold: Option<f64>,
    names: BTreeMap<String, String>,
    positions: Vec<Detail>,
}

#[derive(Serialize)]
struct Detail {
    id: u32,
    cycles: usize,
    scores: Vec<f64>,
    /// The likeliest next tokens: id, probability.
    next: Vec<(u32, f64)>,
}

impl Details {
    pub fn new(trace: &Trace, threshold: Option<f64>) -> Result<Self> {
        let all = trace.positions.iter().zip(&trace.outputs);
        let positions: Vec<Detail> = all.map(|(p, o)| Detail::new(p, o)).collect();
        let ids: BTreeSet<u32> = positions.iter().flat_map(Detail::ids).collect();
        let named = ids.into_iter().map(|id| {
            let text = token_text(id, trace.tokenizer.as_ref())?;
            Ok((id.to_string(), token_name(id, text.as_deref())))
        });
        let names = named.collect::<Result<_>>()?;
        Ok(Self {
            threshold,
            names,
            positions,
        })
    }
}

impl Detail {
    fn new(position: &Position, output: &Output) -> Self {
        let total = log_total(&output.logits);
        let candidates = position.top.iter().take(MAX_CANDIDATES);
        Self {
            id: position.id,
            cycles: position.cycles,
            scores: position.scores.iter().map(|&s| rounded(s.into())).collect(),
            next: candidates
                .map(|&(id, logit)| (id, rounded((f64::from(logit) - total).exp())))
                .collect(),
        }
    }

    /// Of the position's token and its candidates.
    fn ids(&self) -> impl Iterator<Item = u32> {
        std::iter::once(self.id).chain(self.next.iter().map(|&(id, _)| id))
    }
}

/// The logarithm of the sum of the exponentials: a logit less this is a log-probability.
fn log_total(logits: &[f32]) -> f64 {
    let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let greatest = f64::from(greatest);
    let sum: f64 = logits
        .iter()
        .map(|&v| (f64::from(v) - greatest).exp())
        .sum();
    greatest + sum.ln()
}

/// Rounded to the four decimals that are shown, at a third of the size.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_sum_to_one() {
        let logits = [1.0, 80.0, 79.0, -3.0];
        let total = log_total(&logits);
        let sum: f64 = logits.iter().map(|&v| (f64::from(v) - total).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-12);
    }
}
