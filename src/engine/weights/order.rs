//! How rows of stacked matrices, and heads, are ordered on the device.

use crate::engine::memory::layout::padded;
use crate::model::tensor::Tensor;
use crate::model::weights::Linear;

/// How the outputs of stacked matrices follow each other on the device.
#[derive(Clone, Copy)]
pub enum Order {
    Stacked,
    /// Output 0 of each, then output 1 of each, ...
    Alternating,
    /// Heads padded to octets, of which the first `n_turned` have rotary pairs side by side.
    Heads {
        head_dim: usize,
        n_turned: usize,
    },
}

impl Order {
    /// Outputs on the device, of `n` in the checkpoint.
    pub fn n_out(self, n: usize) -> usize {
        match self {
            Order::Heads { head_dim, .. } => n / head_dim * padded(head_dim),
            _ => n,
        }
    }

    /// Which of the stacked outputs becomes output `i`; `None` for padding.
    pub fn source(self, linear: &Linear, i: usize) -> Option<usize> {
        match self {
            Order::Stacked => Some(i),
            Order::Alternating => {
                let n = linear.matrices.len();
                Some((i % n) * (linear.n_out() / n) + i / n)
            }
            Order::Heads { head_dim, n_turned } => {
                let (head, d) = (i / padded(head_dim), i % padded(head_dim));
                let source = match head < n_turned {
                    true => unpaired(d, head_dim),
                    false => d,
                };
                (d < head_dim).then_some(head * head_dim + source)
            }
        }
    }
}

/// The dimension of a head that becomes dimension `d` where rotary pairs are side by side: in
/// checkpoints, dimension `i` is paired with `i + head_dim / 2`.
fn unpaired(d: usize, head_dim: usize) -> usize {
    d / 2 + d % 2 * (head_dim / 2)
}

/// Heads `[head][head_dim]` padded with zeros, rotary pairs side by side if `turned`.
pub fn paired(heads: &[f32], head_dim: usize, turned: bool) -> Vec<f32> {
    let value = |head: &[f32], d: usize| match (d < head_dim, turned) {
        (false, _) => 0.0,
        (true, true) => head[unpaired(d, head_dim)],
        (true, false) => head[d],
    };
    let stride = padded(head_dim);
    let heads = heads.chunks(head_dim);
    heads
        .flat_map(|head| (0..stride).map(move |d| value(head, d)))
        .collect()
}

/// The matrix that has stacked output `i`, and its row in it.
pub fn locate<'a>(linear: &'a Linear<'a>, i: usize) -> (&'a Tensor<'a>, usize) {
    let mut row = i;
    for matrix in &linear.matrices {
        if row < matrix.n_rows() {
            return (matrix, row);
        }
        row -= matrix.n_rows();
    }
    unreachable!("row {i} of {}", linear.n_out())
}
