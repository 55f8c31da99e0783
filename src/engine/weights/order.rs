//! How rows of stacked matrices, and heads, are ordered on the device.

use crate::engine::memory::layout::padded;
use crate::model::config::Config;
use crate::model::role::Role;
use crate::model::weights::Linear;
use crate::rope::unpaired;

/// How the outputs of stacked matrices follow each other on the device.
#[derive(Clone, Copy)]
pub enum Order {
    Stacked,
    /// The outputs are this many runs: output 0 of each, then output 1 of each, ...
    Alternating(usize),
    /// Heads padded to octets, of which the first `n_turned` have rotary pairs side by side, those
    /// of their first `rotary_dim` values.
    Heads {
        head_dim: usize,
        rotary_dim: usize,
        n_turned: usize,
    },
}

impl Order {
    /// The order of a role's outputs: the kernels want heads as `shared/qkv.wgsl` says, and a gate
    /// beside its value.
    pub fn of(role: Role, config: &Config, layer: usize) -> Self {
        match role {
            Role::Qkv => Order::Heads {
                head_dim: config.head_dim,
                rotary_dim: config.rotary_dim(),
                n_turned: config.n_heads + config.n_kv_heads,
            },
            Role::MlpIn => Order::Alternating(config.shape(role, layer).outputs.len()),
            _ => Order::Stacked,
        }
    }

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
            Order::Alternating(n) => Some((i % n) * (linear.n_out() / n) + i / n),
            Order::Heads {
                head_dim,
                rotary_dim,
                n_turned,
            } => {
                let (head, d) = (i / padded(head_dim), i % padded(head_dim));
                let source = match head < n_turned {
                    true => unpaired(d, rotary_dim),
                    false => d,
                };
                (d < head_dim).then_some(head * head_dim + source)
            }
        }
    }
}

/// Heads `[head][head_dim]` padded with zeros, the rotary pairs of their first `rotary_dim` values
/// side by side.
pub fn paired(heads: &[f32], head_dim: usize, rotary_dim: usize) -> Vec<f32> {
    let value = |head: &[f32], d: usize| match d < head_dim {
        true => head[unpaired(d, rotary_dim)],
        false => 0.0,
    };
    let stride = padded(head_dim);
    let heads = heads.chunks(head_dim);
    heads
        .flat_map(|head| (0..stride).map(move |d| value(head, d)))
        .collect()
}

/// The index of the matrix that has stacked output `i`, and its row in it.
pub fn locate(linear: &Linear, i: usize) -> (usize, usize) {
    let mut row = i;
    for (index, matrix) in linear.matrices.iter().enumerate() {
        if row < matrix.n_rows() {
            return (index, row);
        }
        row -= matrix.n_rows();
    }
    unreachable!("row {i} of {}", linear.n_out())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tensor::{Bytes, Dtype, Tensor};

    fn linear(rows: &[usize]) -> Linear<'static> {
        let matrix = |&n: &usize| Tensor {
            name: "t".to_string(),
            dtype: Dtype::F32,
            shape: vec![n, 1],
            bytes: Bytes::Owned(vec![0; 4 * n]),
        };
        Linear {
            matrices: rows.iter().map(matrix).collect(),
            bias: None,
        }
    }

    fn sources(order: Order, rows: &[usize]) -> Vec<Option<usize>> {
        let linear = linear(rows);
        let n_out = order.n_out(linear.n_out());
        (0..n_out).map(|i| order.source(&linear, i)).collect()
    }

    #[test]
    fn a_gate_alternates_with_up_in_one_matrix_or_two() {
        let expected = [0, 3, 1, 4, 2, 5].map(Some);
        assert_eq!(sources(Order::Alternating(2), &[3, 3]), expected);
        assert_eq!(sources(Order::Alternating(2), &[6]), expected);
        assert_eq!(sources(Order::Alternating(1), &[2]), [0, 1].map(Some));
    }

    #[test]
    fn rotary_pairs_are_side_by_side_and_other_values_stay() {
        let order = |rotary_dim| Order::Heads {
            head_dim: 6,
            rotary_dim,
            n_turned: 1,
        };
        let value_head = [6, 7, 8, 9, 10, 11].map(Some);
        for (rotary_dim, head) in [
            (6, [0usize, 3, 1, 4, 2, 5]),
            (4, [0, 2, 1, 3, 4, 5]),
            (0, [0, 1, 2, 3, 4, 5]),
        ] {
            let sources = sources(order(rotary_dim), &[6, 6]);
            assert_eq!(sources[..6], head.map(Some), "{rotary_dim}");
            assert_eq!(sources[6..8], [None; 2]);
            assert_eq!(sources[8..14], value_head);
            let values: Vec<f32> = (0..6).map(|i| i as f32).collect();
            let expected = head.map(|d| d as f32);
            let paired = paired(&values, 6, rotary_dim);
            assert_eq!(paired[..6], expected);
            assert_eq!(paired[6..], [0.0; 2]);
        }
    }
}
