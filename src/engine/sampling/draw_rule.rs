//! Drawing one of the likeliest tokens, computed so that host and device draw the same token.
//!
//! Drawing is a race: each candidate starts at a distance that its logit sets, takes a random time,
//! and the first one is drawn. With times whose logarithms are those of exponentially distributed
//! ones this draws from the softmax of the scaled logits (the Gumbel-max trick). The random number
//! of a candidate depends on the seed, the place in the text and the token alone, so that two rows
//! of nearly equal logits draw the same token most often.
//!
//! Floating point enters in three operations alone, which every device rounds like the host: the
//! logits' differences, these times a scale, and the cut to whole numbers. The weights, the times
//! and the choice are arithmetic of integers. `shaders/common/draw.wgsl` is the device's side.

use crate::kernels::draw::DrawRule;

/// A `top_p` that keeps all.
const KEEP_ALL: u32 = u32::MAX;

/// The weight of the likeliest token. 256 of them fit 32 bits.
const ONE: u32 = 1 << 23;

/// Draws one of `candidates` (tokens and their logits, likeliest first) after `n_seen` tokens of
/// the text. Every logit must be finite.
///
/// # Panics
/// Without candidates.
pub fn draw(rule: &DrawRule, candidates: &[(u32, f32)], n_seen: u32) -> u32 {
    let largest = candidates[0].1;
    let distances: Vec<f32> = candidates
        .iter()
        .map(|(_, logit)| (largest - logit).min(f32::MAX))
        .collect();
    // Top-p and min-p look at the likelihoods before the temperature.
    let mut n = candidates.len();
    if rule.top_p != KEEP_ALL {
        let scaled = distances.iter().map(|d| scaled(*d, rule.plain_scale));
        let weights: Vec<u32> = scaled.map(weight).collect();
        n = first_past(&weights, rule.top_p) + 1;
    }
    // The likeliest token stays at any bound.
    while n > 1 && distances[n - 1] > rule.min_p_distance {
        n -= 1;
    }
    let arrival = |(&(id, _), distance): (&(u32, f32), &f32)| {
        let noise = time(random([id, n_seen, rule.seed]));
        (noise + scaled(*distance, rule.tempered_scale) as i32, id)
    };
    let arrivals = candidates.iter().zip(&distances).take(n).map(arrival);
    arrivals.min().map_or(candidates[0].0, |(_, id)| id)
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

/// One hash of both halves of the seed.
pub fn seed(seed: u64) -> u32 {
    random([seed as u32, (seed >> 32) as u32, 0])
}

/// A hash of three numbers: pcg3d by Jarzynski and Olano, "Hash Functions for GPU Rendering",
/// JCGT 9(3), 2020.
fn random(of_what: [u32; 3]) -> u32 {
    let [mut x, mut y, mut z] =
        of_what.map(|n| n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    x = x.wrapping_add(y.wrapping_mul(z));
    y = y.wrapping_add(z.wrapping_mul(x));
    z = z.wrapping_add(x.wrapping_mul(y));
    [x, y, z] = [x, y, z].map(|n| n ^ n >> 16);
    x.wrapping_add(y.wrapping_mul(z))
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

/// Coefficients of `r` in `log2(1 + f) = f + f (1 - f) r(f)`, signs alternating, in units of 2^-32:
/// a fit that errs by less than 2^-26.
const LOG_SERIES: [u32; 9] = [
    0x7154_75fd,
    0x4755_8c68,
    0x33c0_2a04,
    0x2849_d7f3,
    0x1fc5_5d38,
    0x1710_6600,
    0x0d53_18c3,
    0x050d_d938,
    0x00e6_52ab,
];

/// `log2(n)` in units of 2^-26, of `n` above 0.
fn log2(n: u32) -> u32 {
    let shift = n.leading_zeros();
    let f = (n << shift) << 1;
    let terms = LOG_SERIES.iter().rev();
    let series = terms.fold(0, |sum, c| c - mul_high(f, sum));
    let log = f + mul_high(mul_high(f, !f), series);
    ((31 - shift) << 26) + (log >> 6)
}

/// The series of `log2(-log2(1 - v) / v)` in units of 2^-32.
const RATIO_SERIES: [u32; 6] = [
    0x875d_3ba7,
    0xb8aa_3b29,
    0x4cf1_98a7,
    0x2e2a_8eca,
    0x2030_293f,
    0x185d_9279,
];

/// `log2(-log2(u))` in units of 2^-24 with `u = (bits | 1) / 2^32`: the logarithm of an
/// exponentially distributed time. Of racers that start at distances `x`, each is first with a
/// probability in proportion to `2^-x`.
fn time(bits: u32) -> i32 {
    let n = bits | 1;
    // 1 - u
    let v = n.wrapping_neg();
    if v < 1 << 28 {
        let terms = RATIO_SERIES.iter().rev();
        let ratio = terms.fold(0, |sum, c| c + mul_high(v, sum));
        return ((log2(v) >> 2) + (ratio >> 8)) as i32 - (32 << 24);
    }
    let y = (32 << 26) - log2(n);
    (log2(y) >> 2) as i32 - (26 << 24)
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

    #[test]
    fn logarithms_and_times_are_those_of_doubles() {
        for n in (1..=u32::MAX).step_by(99_991).chain([2, 3, u32::MAX - 1]) {
            let error = f64::from(log2(n)) - f64::from(n).log2() * 2f64.powi(26);
            assert!(error.abs() < 2.0, "{n}: {error}");
        }
        let around = [1, 3, (1 << 28) - 1, 1 << 28, (1 << 28) + 1, 1 << 31];
        let around = around.into_iter().flat_map(|v: u32| [v, v.wrapping_neg()]);
        for bits in (0..=u32::MAX).step_by(99_991).chain(around) {
            let u = f64::from(bits | 1) / 2f64.powi(32);
            // -log2(u), exact near 1 too.
            let time_of = -((u - 1.0).ln_1p() / std::f64::consts::LN_2);
            let error = f64::from(time(bits)) - time_of.log2() * 2f64.powi(24);
            assert!(error.abs() < 6.0, "{bits}: {error}");
        }
    }

    /// Pearson's chi-square of `n` draws of equal rows against the softmax, for `k` candidates.
    fn chi_square(logits: &[f32], temperature: f64, n: u32, draw: impl Fn(u32) -> u32) -> f64 {
        let weights: Vec<f64> = logits
            .iter()
            .map(|&logit| (f64::from(logit) / temperature).exp())
            .collect();
        let total: f64 = weights.iter().sum();
        let mut counts = vec![0.0; logits.len()];
        (0..n).for_each(|i| counts[draw(i) as usize] += 1.0);
        let terms = counts.iter().zip(&weights).map(|(count, weight)| {
            let expected = f64::from(n) * weight / total;
            (count - expected).powi(2) / expected
        });
        terms.sum()
    }

    /// The bound that chi-square of `k` candidates passes once in a million times, by Wilson and
    /// Hilferty's approximation.
    fn bound(k: usize) -> f64 {
        let freedom = (k - 1) as f64;
        let spread = 2.0 / (9.0 * freedom);
        freedom * (1.0 - spread + 4.753 * spread.sqrt()).powi(3)
    }

    #[test]
    fn frequencies_fit_the_softmax_and_an_error_does_not() {
        for (k, spread, temperature) in [(2, 1.0, 1.0), (20, 2.0, 0.7), (60, 1.0, 1.3)] {
            let spread_of = |i: usize| (i * 37 % k) as f64 / k as f64 * spread;
            let mut logits: Vec<f32> = (0..k).map(|i| spread_of(i) as f32).collect();
            logits.sort_by(|a, b| b.total_cmp(a));
            let candidates: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
            let rule = |temperature: f64, seed: u64| DrawRule {
                n_candidates: k as u32,
                top_p: KEEP_ALL,
                min_p_distance: f32::MAX,
                plain_scale: scale(1.0),
                tempered_scale: scale(temperature),
                seed: super::seed(seed),
                ..DrawRule::default()
            };
            // Over places of one text, and over seeds of one place.
            let by_place = |n_seen| draw(&rule(temperature, 7), &candidates, n_seen);
            let by_seed = |seed| draw(&rule(temperature, u64::from(seed)), &candidates, 5);
            for found in [
                chi_square(&logits, temperature, 20_000, by_place),
                chi_square(&logits, temperature, 20_000, by_seed),
            ] {
                assert!(found < bound(k), "{k}: {found} for {}", bound(k));
            }
            // A temperature that is off by a quarter.
            let planted = |n_seen| draw(&rule(1.25 * temperature, 7), &candidates, n_seen);
            let planted = chi_square(&logits, temperature, 20_000, planted);
            assert!(planted > bound(k), "{k}: {planted} passes");
        }
    }

    /// Draws of rows that are nearly equal agree as often as their distributions let them: at least
    /// `(1 - d) / (1 + d)` with `d` their total variation.
    #[test]
    fn nearly_equal_rows_draw_the_same_token() {
        let row = |shift: f32| -> Vec<(u32, f32)> {
            (0..30)
                .map(|i| (i, -0.1 * i as f32 + if i == 3 { shift } else { 0.0 }))
                .collect()
        };
        let sorted = |mut row: Vec<(u32, f32)>| {
            row.sort_by(|a, b| b.1.total_cmp(&a.1));
            row
        };
        let probabilities = |row: &[(u32, f32)]| {
            let total: f64 = row.iter().map(|(_, v)| f64::from(*v).exp()).sum();
            let all = row.iter().map(|(_, v)| f64::from(*v).exp() / total);
            all.collect::<Vec<f64>>()
        };
        let (a, b) = (row(0.0), row(1.5));
        let (p, q) = (probabilities(&a), probabilities(&b));
        let variation = p.iter().zip(&q).map(|(p, q)| (p - q).abs()).sum::<f64>() / 2.0;
        let rule = DrawRule {
            n_candidates: 30,
            top_p: KEEP_ALL,
            min_p_distance: f32::MAX,
            plain_scale: scale(1.0),
            tempered_scale: scale(1.0),
            seed: seed(3),
            ..DrawRule::default()
        };
        let (a, b) = (sorted(a), sorted(b));
        let n = 20_000;
        let n_equal = (0..n).filter(|&n_seen| draw(&rule, &a, n_seen) == draw(&rule, &b, n_seen));
        let share = n_equal.count() as f64 / f64::from(n);
        let least = (1.0 - variation) / (1.0 + variation) - 0.02;
        assert!(share > least, "{share} for {least}");
    }

    /// Draws a token in double precision, by the options themselves.
    fn draw_in_doubles(
        [temperature, top_p, min_p]: [f64; 3],
        candidates: &[(u32, f32)],
        noise: impl Fn(u32) -> u32,
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
        let arrivals = candidates.iter().zip(weights).map(|(&(id, _), weight)| {
            let u = f64::from(noise(id) | 1) / 2f64.powi(32);
            (-(u - 1.0).ln_1p() / weight, id)
        });
        let first = arrivals.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        first.map_or(candidates[0].0, |(_, id)| id)
    }

    /// Whole numbers err by some 1e-6 of a probability, so that about one draw in 10,000 may
    /// differ with a hundred borders each.
    #[test]
    fn whole_numbers_draw_as_doubles_do() {
        let mut n_different = 0;
        for n in 0..20_000u32 {
            let random = |i: u32| f64::from(super::random([n, i, 1])) / 2f64.powi(32);
            let mut logits: Vec<f32> = (0..100).map(|i| (12.0 * random(i)) as f32).collect();
            logits.sort_by(|a, b| b.total_cmp(a));
            let candidates: Vec<(u32, f32)> = (0..).zip(logits).collect();
            let options = [
                0.3 + 1.5 * random(100),
                0.5 + 0.6 * random(101),
                0.1 * random(102),
            ];
            let [temperature, p, min_p] = options;
            let rule = DrawRule {
                n_candidates: 100,
                top_p: top_p(p),
                min_p_distance: min_p_distance(min_p),
                plain_scale: scale(1.0),
                tempered_scale: scale(temperature),
                seed: seed(7),
                ..DrawRule::default()
            };
            let noise = |id| super::random([id, n, rule.seed]);
            let expected = draw_in_doubles(options, &candidates, noise);
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
