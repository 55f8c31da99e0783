//! Expected outputs in double precision, with the size that their rounding errors are relative to.

use ztt_wgpu::kernels::linear::InputNorm;

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

    /// GELU and SiLU are hardly steeper than 1, and so keep errors as they are.
    pub fn gelu(self) -> Self {
        let v = self.value;
        let inner = (2.0 / std::f64::consts::PI).sqrt() * (v + 0.044715 * v.powi(3));
        Self {
            value: 0.5 * v * (1.0 + inner.tanh()),
            ..self
        }
    }

    pub fn swiglu(self, up: Self) -> Self {
        let silu = self.value / (1.0 + (-self.value).exp());
        Self {
            value: silu * up.value,
            magnitude: self.magnitude * up.value.abs() + silu.abs() * up.magnitude,
        }
    }
}
