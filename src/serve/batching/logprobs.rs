//! Probabilities of drawn tokens.

use crate::engine::sampling::top;

/// Natural logarithms of probabilities, by the model's own logits: before penalties, filters and
/// temperature.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprobs {
    /// Of the token drawn.
    pub drawn: f64,
    /// The likeliest tokens, likeliest first.
    pub top: Vec<(u32, f64)>,
}

impl TokenLogprobs {
    /// Of token `id` and the `n_top` likeliest, from logits `[vocab]`.
    pub fn new(logits: &[f32], id: u32, n_top: usize) -> Self {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exps = logits.iter().map(|&v| f64::from(v - largest).exp());
        let log_total = f64::from(largest) + exps.sum::<f64>().ln();
        let logprob = |logit: f32| f64::from(logit) - log_total;
        let top = match n_top {
            0 => Vec::new(),
            n => top(logits, n),
        };
        Self {
            drawn: logprob(logits[id as usize]),
            top: top.into_iter().map(|(id, v)| (id, logprob(v))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_the_logarithm_of_the_softmax() {
        let found = TokenLogprobs::new(&[0.0, 2f32.ln(), 1000.0f32.ln(), 0.0], 1, 2);
        let expected = |weight: f64| (weight / 1004.0).ln();
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} for {b}");
        close(found.drawn, expected(2.0));
        assert_eq!([found.top[0].0, found.top[1].0], [2, 1]);
        close(found.top[0].1, expected(1000.0));
        close(found.top[1].1, expected(2.0));
        assert!(TokenLogprobs::new(&[0.0, 1.0], 0, 0).top.is_empty());
    }
}
