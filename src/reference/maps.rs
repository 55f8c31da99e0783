//! Linear maps and norms, in double precision.

use crate::model::family::NormKind;
use crate::model::tensor::Tensor;
use crate::model::weights::{Linear, Norm};

pub(super) fn linear(linear: &Linear, x: &[f64]) -> Vec<f64> {
    let mut out: Vec<f64> = linear
        .matrices
        .iter()
        .flat_map(|matrix| matvec(matrix, x))
        .collect();
    if let Some(bias) = &linear.bias {
        add_f32(&mut out, bias);
    }
    out
}

fn matvec(matrix: &Tensor, x: &[f64]) -> Vec<f64> {
    let mut row = vec![0.0; x.len()];
    (0..matrix.n_rows())
        .map(|i| {
            matrix.read_row(i, &mut row);
            dot(x, &row)
        })
        .collect()
}

/// Four running sums, so that the compiler may keep them in one vector register.
pub(super) fn dot(x: &[f64], w: &[f32]) -> f64 {
    let mut sums = [0.0; 4];
    let (x4, w4) = (x.chunks_exact(4), w.chunks_exact(4));
    let rest: f64 = (x4.remainder().iter().zip(w4.remainder()))
        .map(|(a, &b)| a * f64::from(b))
        .sum();
    for (x, w) in x4.zip(w4) {
        for i in 0..4 {
            sums[i] += x[i] * f64::from(w[i]);
        }
    }
    sums.iter().sum::<f64>() + rest
}

pub(super) fn add_f32(x: &mut [f64], y: &[f32]) {
    x.iter_mut().zip(y).for_each(|(x, &y)| *x += f64::from(y));
}

pub(super) fn normed(kind: NormKind, eps: f64, norm: &Norm, x: &[f64]) -> Vec<f64> {
    let n = x.len() as f64;
    let mean = match kind {
        NormKind::Rms => 0.0,
        NormKind::Layer => x.iter().sum::<f64>() / n,
    };
    let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    let scale = 1.0 / (variance + eps).sqrt();
    let weighted = x.iter().zip(&norm.weight);
    let mut out: Vec<f64> = weighted
        .map(|(v, &w)| (v - mean) * scale * f64::from(w))
        .collect();
    if let Some(bias) = &norm.bias {
        add_f32(&mut out, bias);
    }
    out
}

/// `c tanh(value / c)`, where there is a soft cap `c`.
pub(super) fn capped(value: f64, soft_cap: Option<f64>) -> f64 {
    soft_cap.map_or(value, |c| c * (value / c).tanh())
}
