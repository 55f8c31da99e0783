//! Rotary position embedding: its angles, computed in double precision on the host.
//!
//! Su et al., "RoFormer", arXiv 2104.09864: dimension pair `i` of a head of width `d` turns by
//! `position * theta^(-2i/d)`. Checkpoints pair dimension `i` with `i + d/2`. Where only the first
//! `d` values of a head are turned, the others stay as they are.

use crate::model::config::{Rope, RopeScaling};

/// The angles by which a position turns the pairs of a head.
pub struct RopeTable {
    /// The frequency of each pair, in radians a position.
    frequencies: Vec<f64>,
}

impl RopeTable {
    pub fn new(rope: &Rope) -> Self {
        let n_pairs = rope.rotary_dim / 2;
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

/// Turns the pairs of one head `[head_dim]` in place: as many as there are angles.
pub fn rotate(angles: &[(f64, f64)], head: &mut [f64]) {
    let (low, high) = head.split_at_mut(angles.len());
    for ((a, b), (cos, sin)) in low.iter_mut().zip(high).zip(angles) {
        (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
    }
}

/// The dimension of a head that becomes dimension `d` on a device, where rotary pairs are side by
/// side: in checkpoints, dimension `i` is paired with `i + rotary_dim / 2`. Dimensions that are not
/// turned stay where they are.
pub fn unpaired(d: usize, rotary_dim: usize) -> usize {
    match d < rotary_dim {
        true => d / 2 + d % 2 * (rotary_dim / 2),
        false => d,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rotary_dim: usize) -> RopeTable {
        RopeTable::new(&Rope {
            theta: 100.0,
            scaling: RopeScaling::None,
            rotary_dim,
        })
    }

    #[test]
    fn a_part_of_a_head_is_turned_like_a_head_of_its_width() {
        let angles = table(4).angles(3);
        let mut whole = [1.0, 2.0, 3.0, 4.0];
        let mut part = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        rotate(&angles, &mut whole);
        rotate(&angles, &mut part);
        assert_eq!(part[..4], whole);
        assert_eq!(part[4..], [5.0, 6.0]);
        let (cos, sin) = (3f64.cos(), 3f64.sin());
        assert_eq!(whole[0], cos - 3.0 * sin);
        assert_eq!(whole[2], 3.0 * cos + sin);
        let (cos, sin) = angles[1];
        assert!((cos - 0.3f64.cos()).abs() < 1e-15);
        assert_eq!(whole[1], 2.0 * cos - 4.0 * sin);
    }

    #[test]
    fn pairs_that_are_not_turned_have_the_angle_0() {
        let device = table(4).to_f32(2, 4);
        assert_eq!(device.len(), 8);
        assert_eq!(device[4], [1f64.cos() as f32, 1f64.sin() as f32]);
        assert_eq!(device[6..], [[1.0, 0.0]; 2]);
    }
}
