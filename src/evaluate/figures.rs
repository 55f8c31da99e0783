//! An evaluation in a few figures.

use serde::{Deserialize, Serialize};

use super::score::Evaluation;

/// Means over the tokens scored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// `exp` of the mean negative log-likelihood.
    pub perplexity: f64,
    /// The mean negative log-likelihood of a token.
    pub nats: f64,
    pub mean_cycles: f64,
    /// Tokens by the cycles of the position that predicts them, from 1.
    pub exits: Vec<usize>,
    /// The share of tokens, 0 to 1, where the likeliest is the one of full depth.
    pub top1_agreement: f64,
    /// Positions run, context included, a second.
    pub tokens_per_second: f64,
}

impl Figures {
    /// The figures of `evaluation`; `full` scored the same tokens at full depth.
    pub fn new(evaluation: &Evaluation, full: &Evaluation) -> Self {
        let scored = &evaluation.scored;
        let n = scored.len().max(1) as f64;
        let nats = scored.iter().map(|s| s.nats).sum::<f64>() / n;
        let cycles: usize = scored.iter().map(|s| s.cycles).sum();
        let pairs = scored.iter().zip(&full.scored);
        let agree = pairs.filter(|(one, full)| one.top == full.top).count();
        Self {
            perplexity: nats.exp(),
            nats,
            mean_cycles: cycles as f64 / n,
            exits: exits(evaluation, full),
            top1_agreement: agree as f64 / n,
            tokens_per_second: evaluation.n_positions as f64
                / evaluation.time.as_secs_f64().max(1e-9),
        }
    }

    /// How much higher the perplexity is than that of `full`, in percent.
    pub fn rise_percent(&self, full: &Figures) -> f64 {
        100.0 * (self.nats - full.nats).exp_m1()
    }
}

/// Tokens by cycles, with as many counts as full depth has cycles.
fn exits(evaluation: &Evaluation, full: &Evaluation) -> Vec<usize> {
    let both = evaluation.scored.iter().chain(&full.scored);
    let mut exits = vec![0; both.map(|s| s.cycles).max().unwrap_or(0)];
    for cycles in evaluation.scored.iter().map(|s| s.cycles) {
        if let Some(count) = exits.get_mut(cycles.wrapping_sub(1)) {
            *count += 1;
        }
    }
    exits
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::score::Scored;
    use super::*;

    fn evaluation(scored: &[(f64, u32, usize)]) -> Evaluation {
        let scored = scored
            .iter()
            .map(|&(nats, top, cycles)| Scored { nats, top, cycles });
        Evaluation {
            scored: scored.collect(),
            n_positions: 6,
            time: Duration::from_secs(2),
        }
    }

    #[test]
    fn means_and_counts() {
        let full = evaluation(&[(1.0, 7, 3), (2.0, 8, 3), (3.0, 9, 3), (2.0, 9, 3)]);
        let early = evaluation(&[(1.5, 7, 1), (2.5, 1, 3), (3.5, 9, 1), (2.5, 9, 3)]);
        let (early, full) = (Figures::new(&early, &full), Figures::new(&full, &full));
        assert_eq!((full.nats, early.nats), (2.0, 2.5));
        assert_eq!(full.perplexity, 2f64.exp());
        assert_eq!((full.mean_cycles, early.mean_cycles), (3.0, 2.0));
        assert_eq!(early.exits, [2, 0, 2]);
        assert_eq!((full.top1_agreement, early.top1_agreement), (1.0, 0.75));
        assert_eq!(early.tokens_per_second, 3.0);
        assert!((early.rise_percent(&full) - 64.872).abs() < 1e-3);
    }
}
