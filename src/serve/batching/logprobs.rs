//! Probabilities of drawn tokens.

use crate::engine::sampling::top;
use crate::error::Result;

/// Natural logarithms of probabilities, by the model's own logits: before penalties, filters and
/// temperature.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprobs {
    /// Of the token drawn.
    pub drawn: f64,
    /// The likeliest tokens, likeliest first.
    pub top: Vec<Candidate>,
}

/// A token that might have been drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub id: u32,
    /// Where it would have stood: see [`TextStream::name`](crate::model::tokenizer::TextStream::name).
    pub name: String,
    pub logprob: f64,
}

impl TokenLogprobs {
    /// Of token `id` and the `n_top` likeliest, from logits `[vocab]`.
    ///
    /// # Errors
    /// Those of `name`.
    pub fn new(
        logits: &[f32],
        id: u32,
        n_top: usize,
        name: impl Fn(u32) -> Result<String>,
    ) -> Result<Self> {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exps = logits.iter().map(|&v| f64::from(v - largest).exp());
        let log_total = f64::from(largest) + exps.sum::<f64>().ln();
        let logprob = |logit: f32| f64::from(logit) - log_total;
        let top = match n_top {
            0 => Vec::new(),
            n => top(logits, n),
        };
        let candidates = top.into_iter().map(|(id, logit)| {
            Ok(Candidate {
                id,
                name: name(id)?,
                logprob: logprob(logit),
            })
        });
        Ok(Self {
            drawn: logprob(logits[id as usize]),
            top: candidates.collect::<Result<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_the_logarithm_of_the_softmax() {
        let name = |id: u32| Ok(id.to_string());
        let logits = [0.0, 2f32.ln(), 1000.0f32.ln(), 0.0];
        let found = TokenLogprobs::new(&logits, 1, 2, name).unwrap();
        let expected = |weight: f64| (weight / 1004.0).ln();
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} for {b}");
        close(found.drawn, expected(2.0));
        assert_eq!([found.top[0].id, found.top[1].id], [2, 1]);
        close(found.top[0].logprob, expected(1000.0));
        close(found.top[1].logprob, expected(2.0));
        assert_eq!(found.top[1].name, "1");
        let found = TokenLogprobs::new(&[0.0, 1.0], 0, 0, name).unwrap();
        assert!(found.top.is_empty());
    }
}
