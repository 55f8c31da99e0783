//! Choosing the next token.
//!
//! The order is llama.cpp's: repeat penalty, top-k, top-p, min-p, temperature. Random numbers
//! come from a counter-based generator, so that a seed gives the same text on every machine.

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
        }
    }
}

/// How many of the latest tokens the repeat penalty looks at, as in llama.cpp.
const REPEAT_WINDOW: usize = 64;

/// Draws tokens one after the other.
pub struct Sampler {
    options: SamplingOptions,
    seen: Vec<u32>,
    n_drawn: u32,
}

impl Sampler {
    /// `prompt` is what the repeat penalty has seen already.
    pub fn new(options: SamplingOptions, prompt: &[u32]) -> Self {
        Self {
            options,
            seen: prompt.to_vec(),
            n_drawn: 0,
        }
    }

    /// The next token, from logits `[vocab]` that are all finite.
    pub fn sample(&mut self, logits: &[f32]) -> u32 {
        let id = self.draw(logits);
        self.seen.push(id);
        self.n_drawn += 1;
        id
    }

    fn draw(&self, logits: &[f32]) -> u32 {
        let o = &self.options;
        let mut candidates: Vec<(u32, f64)> = (0u32..)
            .zip(logits)
            .map(|(id, &v)| (id, f64::from(v)))
            .collect();
        if o.repeat_penalty != 1.0 {
            let start = self.seen.len().saturating_sub(REPEAT_WINDOW);
            let mut seen = self.seen[start..].to_vec();
            seen.sort_unstable();
            seen.dedup();
            for id in seen {
                let v = &mut candidates[id as usize].1;
                *v = if *v > 0.0 {
                    *v / o.repeat_penalty
                } else {
                    *v * o.repeat_penalty
                };
            }
        }
        // Likeliest first; among equals the smaller id, as argmax has it.
        let order = |a: &(u32, f64), b: &(u32, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if o.temperature == 0.0 {
            let best = candidates.iter().copied().min_by(|a, b| order(a, b));
            return best.map_or(0, |(id, _)| id);
        }
        if o.top_k > 0 && o.top_k < candidates.len() {
            candidates.select_nth_unstable_by(o.top_k - 1, order);
            candidates.truncate(o.top_k);
        }
        candidates.sort_unstable_by(order);
        let max = candidates[0].1;
        let weight = |&(_, v): &(u32, f64)| (v - max).exp();
        if o.top_p < 1.0 {
            let total: f64 = candidates.iter().map(weight).sum();
            let mut sum = 0.0;
            let reached = candidates.iter().position(|c| {
                sum += weight(c);
                sum >= o.top_p * total
            });
            candidates.truncate(reached.map_or(candidates.len(), |i| i + 1));
        }
        // The likeliest stays, whatever the bound.
        let best = candidates[0].0;
        candidates.retain(|c| c.0 == best || weight(c) >= o.min_p);
        let tempered = |&(_, v): &(u32, f64)| ((v - max) / o.temperature).exp();
        let total: f64 = candidates.iter().map(tempered).sum();
        let mut left = uniform(o.seed, self.n_drawn) * total;
        for c in &candidates {
            left -= tempered(c);
            if left < 0.0 {
                return c.0;
            }
        }
        candidates[candidates.len() - 1].0
    }
}

/// A number in [0, 1) for draw `n` of a seed: the PCG output function applied to a counter
/// (Jarzynski and Olano, "Hash Functions for GPU Rendering", JCGT 9(3), 2020, section 4).
/// Integers alone, so that a shader can compute the same.
fn uniform(seed: u64, n: u32) -> f64 {
    let (low, high) = (seed as u32, (seed >> 32) as u32);
    let hash = pcg(n ^ pcg(low ^ pcg(high)));
    f64::from(hash >> 8) / f64::from(1u32 << 24)
}

fn pcg(v: u32) -> u32 {
    let state = v.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    let word = ((state >> ((state >> 28) + 4)) ^ state).wrapping_mul(277_803_737);
    (word >> 22) ^ word
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
}
