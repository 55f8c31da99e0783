//! Rotary position embedding: its angles, computed in double precision on the host.
//!
//! Su et al., "RoFormer", arXiv 2104.09864: dimension pair `i` of a head of width `d` turns by
//! `position * theta^(-2i/d)`. Checkpoints pair dimension `i` with `i + d/2`.

use crate::model::config::{Config, RopeScaling};
use crate::model::family::PositionKind;

/// The angles by which a position turns the pairs of a head.
pub struct RopeTable {
    /// The frequency of each pair, in radians a position. Empty without rotary embedding.
    frequencies: Vec<f64>,
}

impl RopeTable {
    pub fn new(config: &Config) -> Self {
        let n_pairs = match config.position {
            PositionKind::Rope => config.head_dim / 2,
            PositionKind::Learned => 0,
        };
        let rope = config.rope;
        let frequencies = (0..n_pairs)
            .map(|i| rope.theta.powf(-(i as f64) / n_pairs as f64))
            .map(|f| scaled(f, rope.scaling))
            .collect();
        Self { frequencies }
    }

    /// Cosine and sine of each pair's angle.
    pub fn angles(&self, position: usize) -> Vec<(f64, f64)> {
        let turn = |frequency: &f64| {
            let angle = position as f64 * frequency;
            (angle.cos(), angle.sin())
        };
        self.frequencies.iter().map(turn).collect()
    }

    /// The table as the device reads it: `[position][pair][cos, sin]`, padded to `n_pairs`.
    pub fn to_f32(&self, n_positions: usize, n_pairs: usize) -> Vec<[f32; 2]> {
        let mut table = Vec::with_capacity(n_positions * n_pairs);
        for position in 0..n_positions {
            let angles = self.angles(position).into_iter();
            table.extend(angles.map(|(cos, sin)| [cos as f32, sin as f32]));
            table.resize((position + 1) * n_pairs, [1.0, 0.0]);
        }
        table
    }
}

/// Turns the pairs of one head `[head_dim]` in place.
pub fn rotate(angles: &[(f64, f64)], head: &mut [f64]) {
    let (low, high) = head.split_at_mut(angles.len());
    for ((a, b), (cos, sin)) in low.iter_mut().zip(high).zip(angles) {
        (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
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
