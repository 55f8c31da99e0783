//! Drawing one of the likeliest tokens, computed so that host and device draw the same token.
//!
//! Floating point enters in three operations alone, which every device rounds like the host: the
//! logits' differences, these times a scale, and the cut to whole numbers. The weights, their
//! sums and the choice are arithmetic of integers. `shaders/common/draw.wgsl` is the device's side.

use crate::kernels::draw::Params;

/// A `top_p` that keeps all.
const KEEP_ALL: u32 = u32::MAX;

/// The weight of the likeliest token. 256 of them fit 32 bits.
const ONE: u32 = 1 << 23;

/// Draws one of `candidates` (tokens and their logits, likeliest first), the `n_drawn`-th draw of
/// the rule's seed. Every logit must be finite.
///
/// # Panics
/// Without candidates.
pub fn draw(rule: &Params, candidates: &[(u32, f32)], n_drawn: u32) -> u32 {
    let largest = candidates[0].1;
    let distances: Vec<f32> = candidates
        .iter()
        .map(|(_, logit)| (largest - logit).min(f32::MAX))
        .collect();
    let weights = |n: usize, scale: f32| -> Vec<u32> {
        let scaled = distances[..n].iter().map(|d| scaled(*d, scale));
        scaled.map(weight).collect()
    };
    // Top-p and min-p look at the likelihoods before the temperature.
    let mut n = candidates.len();
    if rule.top_p != KEEP_ALL {
        n = first_past(&weights(n, rule.plain_scale), rule.top_p) + 1;
    }
    // The likeliest token stays at any bound.
    while n > 1 && distances[n - 1] > rule.min_p_distance {
        n -= 1;
    }
    let random = pcg(n_drawn ^ rule.seed);
    candidates[first_past(&weights(n, rule.tempered_scale), random)].0
}

/// `p` of 1 or more as no filter, below as a fraction in units of 2^-32.
pub fn top_p(p: f64) -> u32 {
    // The conversion saturates.
    (p * 2f64.powi(32)) as u32
}

/// How far below the largest logit a token of `p` times its likelihood lies.
pub fn min_p_distance(p: f64) -> f32 {
    (-p.ln()).min(f64::from(f32::MAX)) as f32
}

/// The factor from a distance to units of 2^-24 of a power of two, at this temperature.
pub fn scale(temperature: f64) -> f32 {
    let scale = std::f64::consts::LOG2_E * 2f64.powi(24) / temperature;
    // Finite even for the smallest temperatures: 0 times the scale must be 0.
    scale.min(1e30) as f32
}

/// One hash of both halves of the seed. Random numbers are that of a draw's number and this one:
/// the PCG output function applied to a counter (Jarzynski and Olano, "Hash Functions for GPU
/// Rendering", JCGT 9(3), 2020, section 4).
pub fn seed(seed: u64) -> u32 {
    pcg(seed as u32 ^ pcg((seed >> 32) as u32))
}

fn pcg(v: u32) -> u32 {
    let state = v.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    let word = ((state >> ((state >> 28) + 4)) ^ state).wrapping_mul(277_803_737);
    (word >> 22) ^ word
}

fn scaled(distance: f32, scale: f32) -> u32 {
    (distance * scale).min(1_073_741_824.0) as u32
}

/// The upper half of the product.
fn mul_high(a: u32, b: u32) -> u32 {
    ((u64::from(a) * u64::from(b)) >> 32) as u32
}

/// `ln(2)^k / k!` for k = 1, 2 ... in units of 2^-32.
const SERIES: [u32; 10] = [
    0xb172_17f8,
    0x3d7f_7bff,
    0x0e35_846c,
    0x0276_556e,
    0x0057_6200,
    0x000a_1849,
    0xffe6,
    0x162c,
    0x01b5,
    0x001e,
];

/// `ONE * 2^-x` to within a unit, `x` in units of 2^-24: 0 from x = 24 on.
fn weight(x: u32) -> u32 {
    // The series of 1 - 2^-f, f the fraction of x.
    let f = x << 8;
    let series = SERIES.iter().rev().fold(0, |sum, c| c - mul_high(f, sum));
    let mantissa = ONE - ((mul_high(f, series) + 256) >> 9);
    let n = (x >> 24).min(31);
    (mantissa + ((1 << n) >> 1)) >> n
}

/// The first of the weights at which their sum exceeds `part`, in units of 2^-32, of the whole.
fn first_past(weights: &[u32], part: u32) -> usize {
    let total: u64 = weights.iter().map(|&w| u64::from(w)).sum();
    let bound = (u128::from(total) * u128::from(part)) >> 32;
    let mut sum = 0u128;
    let exceeds = |&w: &u32| {
        sum += u128::from(w);
        sum > bound
    };
    // The part is below the whole.
    weights.iter().position(exceeds).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_powers_of_two_to_within_a_unit() {
        for x in (0..1u32 << 29).step_by(10_007) {
            let expected = f64::from(ONE) * (-f64::from(x) / 2f64.powi(24)).exp2();
            let error = (f64::from(weight(x)) - expected).abs();
            assert!(error < 1.0, "{x}: {} for {expected}", weight(x));
        }
        assert_eq!((weight(0), weight(1 << 24)), (ONE, ONE / 2));
        assert_eq!(weight(1 << 30), 0);
    }

    #[test]
    fn the_sum_passes_a_part_of_the_whole() {
        let half = 1 << 31;
        assert_eq!(first_past(&[4, 2, 2], half - 1), 0);
        // Exactly half is not past half.
        assert_eq!(first_past(&[4, 2, 2], half), 1);
        assert_eq!(first_past(&[4, 2, 2], u32::MAX), 2);
        assert_eq!(first_past(&[4, 2, 2], 0), 0);
    }

    /// Draws a token in double precision, by the options themselves.
    fn draw_in_doubles(
        [temperature, top_p, min_p]: [f64; 3],
        candidates: &[(u32, f32)],
        random: u32,
    ) -> u32 {
        let likelihoods = |temperature: f64| -> Vec<f64> {
            let distance = |c: &(u32, f32)| f64::from(c.1) - f64::from(candidates[0].1);
            let powers = candidates.iter().map(|c| (distance(c) / temperature).exp());
            powers.collect()
        };
        let first_past = |weights: &[f64], part: f64| {
            let bound = part * weights.iter().sum::<f64>();
            let mut sum = 0.0;
            let exceeds = |w: &f64| {
                sum += w;
                sum > bound
            };
            weights.iter().position(exceeds).unwrap_or(0)
        };
        let plain = likelihoods(1.0);
        let mut kept = plain.len();
        if top_p < 1.0 {
            kept = first_past(&plain, top_p) + 1;
        }
        let likely = plain.iter().filter(|&&w| w >= min_p).count();
        let weights = &likelihoods(temperature)[..kept.min(likely)];
        candidates[first_past(weights, f64::from(random) / 2f64.powi(32))].0
    }

    /// Whole numbers err by some 1e-6 of a probability, so that about one draw in 10,000 may
    /// differ with a hundred borders each.
    #[test]
    fn whole_numbers_draw_as_doubles_do() {
        let mut n_different = 0;
        for n in 0..20_000u32 {
            let random = |i: u32| f64::from(pcg(n ^ pcg(i))) / 2f64.powi(32);
            let mut logits: Vec<f32> = (0..100).map(|i| (12.0 * random(i)) as f32).collect();
            logits.sort_by(|a, b| b.total_cmp(a));
            let candidates: Vec<(u32, f32)> = (0..).zip(logits).collect();
            let options = [
                0.3 + 1.5 * random(100),
                0.5 + 0.6 * random(101),
                0.1 * random(102),
            ];
            let [temperature, p, min_p] = options;
            let rule = Params {
                n_candidates: 100,
                top_p: top_p(p),
                min_p_distance: min_p_distance(min_p),
                plain_scale: scale(1.0),
                tempered_scale: scale(temperature),
                seed: seed(7),
            };
            let expected = draw_in_doubles(options, &candidates, pcg(n ^ rule.seed));
            n_different += u32::from(draw(&rule, &candidates, n) != expected);
        }
        assert!(n_different <= 4, "{n_different} draws differ");
    }

    #[test]
    fn options_at_their_limits() {
        assert_eq!((top_p(1.0), top_p(0.5), top_p(0.0)), (KEEP_ALL, 1 << 31, 0));
        assert_eq!((min_p_distance(0.0), min_p_distance(1.0)), (f32::MAX, 0.0));
        assert_eq!(scaled(0.0, scale(1e-300)), 0);
        assert_eq!(scaled(f32::MAX, scale(1e300)), 0);
        assert_eq!(weight(scaled(1e-3, scale(1e-300))), 0);
    }
}
