//! Summaries of repeated measurements.

use serde::{Deserialize, Serialize};

/// A summary of repeated measurements of one thing, in the unit of the measurements.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    pub mean: f64,
    /// Standard deviation of the sample (divided by `n - 1`); 0 for a single measurement.
    pub sd: f64,
    pub median: f64,
    pub min: f64,
    pub max: f64,
    /// Distance between the quartiles over the median, in percent: the typical scatter of samples.
    pub spread_percent: f64,
}

impl Stats {
    /// # Panics
    /// When there is no sample.
    pub fn new(samples: &[f64]) -> Self {
        assert!(!samples.is_empty(), "no samples");
        let n = samples.len() as f64;
        let mean = samples.iter().sum::<f64>() / n;
        let squares: f64 = samples.iter().map(|x| (x - mean).powi(2)).sum();
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let median = quantile(&sorted, 0.5);
        Self {
            mean,
            sd: (squares / (n - 1.0).max(1.0)).sqrt(),
            median,
            min: sorted[0],
            max: sorted[sorted.len() - 1],
            spread_percent: 100.0 * (quantile(&sorted, 0.75) - quantile(&sorted, 0.25)) / median,
        }
    }
}

/// The value below which a fraction `q` of the sorted samples lies, interpolated linearly.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let place = q * (sorted.len() - 1) as f64;
    let low = sorted[place.floor() as usize];
    let high = sorted[place.ceil() as usize];
    low + (high - low) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_and_even_counts() {
        let odd = Stats::new(&[3.0, 1.0, 2.0]);
        assert_eq!((odd.median, odd.mean, odd.sd), (2.0, 2.0, 1.0));
        assert_eq!(odd.spread_percent, 50.0);
        let even = Stats::new(&[4.0, 1.0, 2.0, 3.0]);
        assert_eq!((even.median, even.min, even.max), (2.5, 1.0, 4.0));
    }

    #[test]
    fn one_sample_has_no_deviation() {
        let one = Stats::new(&[7.0]);
        assert_eq!((one.mean, one.sd, one.spread_percent), (7.0, 0.0, 0.0));
    }
}
