//! Choosing the next token.
//!
//! The order is llama.cpp's: biases and masks, repeat penalty, top-k, top-p, min-p, temperature.
//! Random numbers are hashes of seed, place and token, and what follows top-k is integers for the
//! most part (`draw_rule`), so that a seed gives the same text on every machine, on host and device.

pub mod device;
mod draw_rule;

use std::sync::Arc;

use crate::kernels::draw::DrawRule;
use crate::kernels::repeat_penalty::WINDOW;
use crate::kernels::top_k::MAX_CANDIDATES;
use crate::model::Model;

/// How a token is drawn from the logits.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingOptions {
    /// 0 is greedy.
    pub temperature: f64,
    /// Keep the `k` likeliest; 0 keeps all.
    pub top_k: usize,
    /// Keep the likeliest whose probabilities reach `p` together.
    pub top_p: f64,
    /// Keep those at least this fraction as likely as the likeliest.
    pub min_p: f64,
    /// Divides (or, below zero, multiplies) the logits of tokens already seen.
    pub repeat_penalty: f64,
    pub seed: u64,
    /// Draw on the host even where the device could.
    pub on_host: bool,
}

impl Default for SamplingOptions {
    fn default() -> Self {
        Self {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            repeat_penalty: 1.0,
            seed: 0,
            on_host: false,
        }
    }
}

impl SamplingOptions {
    /// Options as the model's `generation_config.json` asks for, else the defaults.
    pub fn of(model: &Model) -> Self {
        let file = &model.generation;
        let default = Self::default();
        let greedy = (file.sample == Some(false)).then_some(0.0);
        Self {
            temperature: greedy.or(file.temperature).unwrap_or(default.temperature),
            top_k: file.top_k.unwrap_or(default.top_k),
            top_p: file.top_p.unwrap_or(default.top_p),
            min_p: file.min_p.unwrap_or(default.min_p),
            repeat_penalty: file.repeat_penalty.unwrap_or(default.repeat_penalty),
            ..default
        }
    }

    /// How many of the likeliest tokens are looked at, of a vocabulary of `n_vocab`.
    fn n_candidates(&self, n_vocab: usize) -> usize {
        match (self.temperature == 0.0, self.top_k) {
            (true, _) => 1,
            (false, 0) => n_vocab,
            (false, k) => k.min(n_vocab),
        }
    }

    /// Whether a device can draw the same tokens: it looks at the likeliest
    /// [`MAX_CANDIDATES`] at most.
    pub fn fit_device(&self, n_vocab: usize) -> bool {
        self.n_candidates(n_vocab) <= MAX_CANDIDATES
    }

    fn draw_rule(&self, n_vocab: usize) -> DrawRule {
        DrawRule {
            n_candidates: self.n_candidates(n_vocab) as u32,
            top_p: draw_rule::top_p(self.top_p),
            min_p_distance: draw_rule::min_p_distance(self.min_p),
            plain_scale: draw_rule::scale(1.0),
            tempered_scale: draw_rule::scale(self.temperature),
            seed: draw_rule::seed(self.seed),
            seen_positive: (1.0 / self.repeat_penalty) as f32,
            seen_negative: self.repeat_penalty as f32,
            ..DrawRule::default()
        }
    }
}

/// Draws the tokens of a text one after the other.
#[derive(Clone)]
pub struct Sampler {
    pub(super) options: SamplingOptions,
    pub(super) seen: Vec<u32>,
    /// Added to the logits `[vocab]`; `None` changes nothing.
    bias: Option<Arc<[f32]>>,
    /// A bit for each token that is allowed, 32 a word; `None` allows all.
    mask: Option<Arc<[u32]>>,
}

impl Sampler {
    /// `prompt` is the text so far: what the repeat penalty has seen already, and, by its length,
    /// the place whose random numbers come next.
    pub fn new(options: SamplingOptions, prompt: &[u32]) -> Self {
        Self {
            options,
            seen: prompt.to_vec(),
            bias: None,
            mask: None,
        }
    }

    /// Adds `bias` `[vocab]` to all logits from now on.
    pub fn set_bias(&mut self, bias: Option<Arc<[f32]>>) {
        self.bias = bias;
    }

    /// Allows only the tokens whose bits are set from now on: bit `i % 32` of word `i / 32` is
    /// that of token `i`. At least one must be.
    pub fn set_mask(&mut self, mask: Option<Arc<[u32]>>) {
        self.mask = mask;
    }

    /// The next token, from logits `[vocab]` that are all finite.
    pub fn sample(&mut self, logits: &[f32]) -> u32 {
        let rule = self.draw_rule(logits.len());
        let n_candidates = rule.n_candidates as usize;
        let candidates = match self.changes_logits() {
            false => top(logits, n_candidates),
            true => {
                let mut logits = logits.to_vec();
                self.adjust(&mut logits);
                self.penalize(&mut logits, &rule);
                top(&logits, n_candidates)
            }
        };
        let id = draw_rule::draw(&rule, &candidates, self.seen.len() as u32);
        self.record(id);
        id
    }

    /// Notes a token that was drawn, here or by a device.
    pub fn record(&mut self, id: u32) {
        self.seen.push(id);
    }

    /// Forgets the tokens of the text from place `n` on.
    pub fn truncate(&mut self, n: usize) {
        self.seen.truncate(n);
    }

    /// How the tokens are drawn, as the kernels read it.
    pub(super) fn draw_rule(&self, n_vocab: usize) -> DrawRule {
        DrawRule {
            has_bias: self.bias.is_some().into(),
            has_mask: self.mask.is_some().into(),
            ..self.options.draw_rule(n_vocab)
        }
    }

    fn changes_logits(&self) -> bool {
        self.options.repeat_penalty != 1.0 || self.bias.is_some() || self.mask.is_some()
    }

    /// Adds the biases, and makes the tokens that are not allowed the unlikeliest.
    fn adjust(&self, logits: &mut [f32]) {
        if let Some(bias) = &self.bias {
            let biased = logits.iter_mut().zip(bias.iter());
            biased.for_each(|(logit, bias)| *logit = (*logit + bias).clamp(f32::MIN, f32::MAX));
        }
        if let Some(mask) = &self.mask {
            let forbidden = |i: &usize| mask[i / 32] >> (i % 32) & 1 == 0;
            let forbidden = (0..logits.len()).filter(forbidden);
            forbidden.for_each(|i| logits[i] = f32::MIN);
        }
    }

    /// Changes the logits of the latest tokens, each once.
    fn penalize(&self, logits: &mut [f32], rule: &DrawRule) {
        let mut recent = self.seen[self.seen.len().saturating_sub(WINDOW)..].to_vec();
        recent.sort_unstable();
        recent.dedup();
        for id in recent {
            let logit = &mut logits[id as usize];
            let factor = match *logit > 0.0 {
                true => rule.seen_positive,
                false => rule.seen_negative,
            };
            *logit = (*logit * factor).clamp(f32::MIN, f32::MAX);
        }
    }
}

/// The `n` largest logits, largest first, among equals the smaller id first.
pub fn top(logits: &[f32], n: usize) -> Vec<(u32, f32)> {
    let mut all: Vec<(u32, f32)> = (0u32..).zip(logits.iter().copied()).collect();
    let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if n > 0 && n < all.len() {
        all.select_nth_unstable_by(n - 1, order);
    }
    all.truncate(n);
    all.sort_unstable_by(order);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(options: &SamplingOptions, logits: &[f32], n: usize) -> Vec<u32> {
        let mut sampler = Sampler::new(options.clone(), &[]);
        (0..n).map(|_| sampler.sample(logits)).collect()
    }

    const PLAIN: SamplingOptions = SamplingOptions {
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        repeat_penalty: 1.0,
        seed: 7,
        on_host: true,
    };

    #[test]
    fn greedy_takes_the_first_of_the_largest() {
        let greedy = SamplingOptions {
            temperature: 0.0,
            ..PLAIN
        };
        assert_eq!(draws(&greedy, &[1.0, 3.0, 3.0, 2.0], 2), [1, 1]);
        assert_eq!(
            top(&[1.0, 3.0, 3.0, 2.0], 3),
            [(1, 3.0), (2, 3.0), (3, 2.0)]
        );
    }

    #[test]
    fn frequencies_follow_the_softmax() {
        let logits = [0.0, 1.0, 2.0];
        let n = 20_000;
        let drawn = draws(&PLAIN, &logits, n);
        let total: f64 = logits.iter().map(|v| f64::from(*v).exp()).sum();
        for (id, v) in (0u32..).zip(logits) {
            let share = drawn.iter().filter(|&&d| d == id).count() as f64 / n as f64;
            let expected = f64::from(v).exp() / total;
            assert!(
                (share - expected).abs() < 0.015,
                "{id}: {share} for {expected}"
            );
        }
    }

    #[test]
    fn a_seed_gives_the_same_tokens_and_another_seed_others() {
        let logits: Vec<f32> = (0..50).map(|i| (i % 7) as f32 * 0.3).collect();
        let first = draws(&PLAIN, &logits, 40);
        assert_eq!(first, draws(&PLAIN, &logits, 40));
        let other = SamplingOptions { seed: 8, ..PLAIN };
        assert_ne!(first, draws(&other, &logits, 40));
    }

    #[test]
    fn each_filter_keeps_what_it_says() {
        let logits = [0.0, 4.0, 3.0, -1.0, 2.9];
        let kept = |o: SamplingOptions| {
            let mut ids = draws(&o, &logits, 3000);
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        assert_eq!(kept(SamplingOptions { top_k: 2, ..PLAIN }), [1, 2]);
        assert_eq!(
            kept(SamplingOptions {
                top_p: 0.5,
                ..PLAIN
            }),
            [1]
        );
        // exp(2.9 - 4) = 0.333, exp(3 - 4) = 0.368
        assert_eq!(
            kept(SamplingOptions {
                min_p: 0.35,
                ..PLAIN
            }),
            [1, 2]
        );
        assert_eq!(
            kept(SamplingOptions {
                min_p: 0.33,
                ..PLAIN
            }),
            [1, 2, 4]
        );
    }

    #[test]
    fn the_repeat_penalty_moves_seen_tokens_down() {
        let greedy = SamplingOptions {
            temperature: 0.0,
            repeat_penalty: 2.0,
            ..PLAIN
        };
        let mut sampler = Sampler::new(greedy, &[1]);
        let logits = [1.5, 2.0, 1.2];
        assert_eq!(sampler.sample(&logits), 0);
        assert_eq!(sampler.sample(&logits), 2);
    }

    #[test]
    fn a_device_takes_what_its_candidates_cover() {
        let top_k = |top_k| SamplingOptions { top_k, ..PLAIN };
        let greedy = SamplingOptions {
            temperature: 0.0,
            ..PLAIN
        };
        assert!(top_k(256).fit_device(5000) && !top_k(257).fit_device(5000));
        assert!(top_k(0).fit_device(256) && !top_k(0).fit_device(257));
        assert!(greedy.fit_device(5000));
    }

    #[test]
    fn a_mask_forbids_and_a_bias_prefers() {
        let logits: Vec<f32> = (0..40).map(|i| i as f32 * 0.01).collect();
        let mut sampler = Sampler::new(PLAIN, &[]);
        sampler.set_mask(Some(Arc::from([1 << 5 | 1 << 9, 1 << 2])));
        let mut drawn: Vec<u32> = (0..500).map(|_| sampler.sample(&logits)).collect();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn, [5, 9, 34]);
        let mut bias = vec![0.0; 40];
        bias[9] = 50.0;
        sampler.set_bias(Some(Arc::from(bias)));
        assert!((0..50).all(|_| sampler.sample(&logits) == 9));
        sampler.set_mask(None);
        sampler.set_bias(None);
        let drawn: Vec<u32> = (0..500).map(|_| sampler.sample(&logits)).collect();
        assert!(drawn.iter().any(|id| ![5, 9, 34].contains(id)));
    }
}
