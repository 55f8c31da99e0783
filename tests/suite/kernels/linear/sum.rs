//! Expected outputs in double precision, with the size that their rounding errors are relative to.

use ztt_wgpu::kernels::linear::InputNorm;
use ztt_wgpu::model::block::Activation;

use super::super::padded;
use super::EPS;

/// A row after its norm.
pub fn normed(kind: InputNorm, row: &[f32], norm: &[f32]) -> Vec<Sum> {
    let n = row.len();
    let mean_of = |values: &[f64]| values.iter().sum::<f64>() / n as f64;
    let row: Vec<f64> = row.iter().map(|&v| v.into()).collect();
    let mean = match kind {
        InputNorm::Layer => mean_of(&row),
        _ => 0.0,
    };
    let squares: Vec<f64> = row.iter().map(|v| (v - mean).powi(2)).collect();
    let scale = match kind {
        InputNorm::None => return row.into_iter().map(Sum::of).collect(),
        _ => 1.0 / (mean_of(&squares) + f64::from(EPS)).sqrt(),
    };
    let value = |i: usize| {
        let centred = Sum::of(row[i]).plus(Sum::of(-mean));
        let scaled = centred.times(scale * f64::from(norm[i]));
        match kind {
            InputNorm::Layer => scaled.plus(Sum::of(norm[padded(n) + i].into())),
            _ => scaled,
        }
    };
    (0..n).map(value).collect()
}

/// A sum, and the sum of its terms without their signs, which rounding errors are relative to,
/// however much of the sum cancels.
#[derive(Clone, Copy)]
pub struct Sum {
    pub value: f64,
    pub magnitude: f64,
}

impl Sum {
    pub fn of(value: f64) -> Self {
        Self {
            value,
            magnitude: value.abs(),
        }
    }

    pub fn times(self, factor: f64) -> Self {
        Self {
            value: self.value * factor,
            magnitude: self.magnitude * factor.abs(),
        }
    }

    pub fn plus(self, other: Self) -> Self {
        Self {
            value: self.value + other.value,
            magnitude: self.magnitude + other.magnitude,
        }
    }

    pub fn activated(self, activation: Activation) -> Self {
        let v = self.value;
        let value = match activation {
            Activation::Silu => v / (1.0 + (-v).exp()),
            Activation::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (v + 0.044715 * v.powi(3));
                0.5 * v * (1.0 + inner.tanh())
            }
            Activation::Gelu => 0.5 * v * erfc(-v * std::f64::consts::FRAC_1_SQRT_2),
            Activation::Relu => v.max(0.0),
            Activation::ReluSquared => v.max(0.0).powi(2),
        };
        // Errors grow with the slope: that of a square, or hardly more than 1.
        let slope = match activation {
            Activation::ReluSquared => 2.0 * v.max(0.0),
            _ => 1.0,
        };
        Self {
            value,
            magnitude: slope * self.magnitude,
        }
    }

    pub fn times_sum(self, other: Self) -> Self {
        let (a, b) = (self.value.abs(), other.value.abs());
        Self {
            value: self.value * other.value,
            magnitude: self.magnitude * b + a * other.magnitude,
        }
    }
}

/// `1 - erf(x)`: near zero the series of erf, further out, where that would lose digits, the
/// continued fraction `exp(-x²) / (sqrt(π) (x + (1/2) / (x + (2/2) / (x + (3/2) / ...))))`. Source:
/// Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.5 and 7.1.14.
fn erfc(x: f64) -> f64 {
    if x < 0.0 {
        return 2.0 - erfc(-x);
    }
    let root = std::f64::consts::PI.sqrt();
    if x < 2.0 {
        let mut power = x;
        let mut sum = x;
        for n in 1..60 {
            power *= -x * x / f64::from(n);
            sum += power / f64::from(2 * n + 1);
        }
        return 1.0 - 2.0 / root * sum;
    }
    let below = (1..100)
        .rev()
        .fold(x, |below, n| x + f64::from(n) / 2.0 / below);
    (-x * x).exp() / (root * below)
}
