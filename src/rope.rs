//! Rotary position embedding: the table of angles, computed in double precision on the host.
//!
//! Su et al., "RoFormer", arXiv 2104.09864: dimension pair `i` of a head of width `d` turns by
//! `position * theta^(-2i/d)`. Checkpoints pair dimension `i` with `i + d/2`.

use crate::model::config::{Config, RopeScaling};
use crate::model::family::PositionKind;

/// Cosines and sines for every position and pair.
pub struct RopeTable {
    /// Pairs of a head, `head_dim / 2`; 0 where the family has no rotary embedding.
    pub n_pairs: usize,
    /// `[position][pair]` -> (cos, sin)
    angles: Vec<(f64, f64)>,
}

impl RopeTable {
    /// The table for positions `0..n_positions`.
    pub fn new(config: &Config, n_positions: usize) -> Self {
        let n_pairs = match config.position {
            PositionKind::Rope => config.head_dim / 2,
            PositionKind::Learned => 0,
        };
        let rope = config.rope;
        let frequencies: Vec<f64> = (0..n_pairs)
            .map(|i| rope.theta.powf(-(i as f64) / n_pairs as f64))
            .map(|f| scaled(f, rope.scaling))
            .collect();
        let angles = (0..n_positions)
            .flat_map(|p| frequencies.iter().map(move |f| p as f64 * f))
            .map(|angle| (angle.cos(), angle.sin()))
            .collect();
        Self { n_pairs, angles }
    }

    /// Turns the pairs of one head `[head_dim]` in place.
    pub fn rotate(&self, position: usize, head: &mut [f64]) {
        let angles = &self.angles[position * self.n_pairs..];
        let (low, high) = head.split_at_mut(self.n_pairs);
        for ((a, b), (cos, sin)) in low.iter_mut().zip(high).zip(angles) {
            (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
        }
    }

    /// The table as the device reads it: `[position][pair][cos, sin]`.
    pub fn to_f32(&self) -> Vec<[f32; 2]> {
        let narrow = |&(cos, sin): &(f64, f64)| [cos as f32, sin as f32];
        self.angles.iter().map(narrow).collect()
    }
}

/// A frequency, stretched. `Llama3` is the rule of LLaMA 3.1's reference code: by how often the
/// original context holds the wavelength, below `low_freq_factor` times divide, above
/// `high_freq_factor` times keep, and blend in between.
fn scaled(frequency: f64, scaling: RopeScaling) -> f64 {
    match scaling {
        RopeScaling::None => frequency,
        RopeScaling::Linear { factor } => frequency / factor,
        RopeScaling::Llama3 {
            factor,
            low_freq_factor: low,
            high_freq_factor: high,
            original_positions,
        } => {
            let wavelength = 2.0 * std::f64::consts::PI / frequency;
            let turns = original_positions / wavelength;
            if turns > high {
                frequency
            } else if turns < low {
                frequency / factor
            } else {
                let kept = (turns - low) / (high - low);
                (1.0 - kept) * frequency / factor + kept * frequency
            }
        }
    }
}
