//! Norm and rotation of a row's queries and keys, in double precision.

use ztt_wgpu::model::block::{QkNorm, QkSpan};

use super::EPS;

/// Norms query heads and key heads, each with its padding. `weights`: `[head][stride]`, of queries
/// and then of keys.
pub fn norm(
    queries: &mut [Vec<f64>],
    keys: &mut [Vec<f64>],
    head_dim: usize,
    norm: QkNorm,
    weights: &[f32],
) {
    let stride = queries[0].len();
    let [n_queries, n_keys] = match norm.span {
        QkSpan::Head => [1, 1],
        QkSpan::Width => [queries.len(), keys.len()],
    };
    let (of_queries, of_keys) = weights.split_at(n_queries * stride);
    for heads in queries.chunks_mut(n_queries) {
        norm_together(heads, head_dim, of_queries);
    }
    for heads in keys.chunks_mut(n_keys) {
        norm_together(heads, head_dim, of_keys);
    }
}

fn norm_together(heads: &mut [Vec<f64>], head_dim: usize, weights: &[f32]) {
    let n = (heads.len() * head_dim) as f64;
    let squares: f64 = heads.iter().flatten().map(|v| v * v).sum();
    let scale = 1.0 / (squares / n + f64::from(EPS)).sqrt();
    for (value, weight) in heads.iter_mut().flatten().zip(weights) {
        *value *= scale * f64::from(*weight);
    }
}

/// Turns pairs of neighbours; `angles`: cosine and sine of each pair of a head.
pub fn rotate(heads: &mut [Vec<f64>], angles: &[f32]) {
    for head in heads {
        for (pair, angle) in head.chunks_mut(2).zip(angles.chunks(2)) {
            let (cos, sin) = (f64::from(angle[0]), f64::from(angle[1]));
            let (a, b) = (pair[0], pair[1]);
            pair[0] = a * cos - b * sin;
            pair[1] = b * cos + a * sin;
        }
    }
}
