//! Weights by role, under the same names for all families.

use std::collections::BTreeMap;

use super::role::Role;
use super::tensor::{Dtype, Tensor};

/// The weights of a parameter layer, or those outside of all layers. Each has the roles that its
/// model has, and no others.
#[derive(Default)]
pub struct ByRole<'a> {
    pub linears: BTreeMap<Role, Linear<'a>>,
    pub norms: BTreeMap<Role, Norm>,
}

/// A linear map: matrices stacked along the outputs, each `[out, in]`, and a bias.
pub struct Linear<'a> {
    pub matrices: Vec<Tensor<'a>>,
    /// `[n_out]`, or `None`.
    pub bias: Option<Vec<f32>>,
}

impl Linear<'_> {
    /// Outputs of all stacked matrices.
    pub fn n_out(&self) -> usize {
        self.matrices.iter().map(Tensor::n_rows).sum()
    }

    /// Inputs.
    pub fn n_in(&self) -> usize {
        self.matrices[0].n_cols()
    }

    /// The type that holds every stacked matrix exactly.
    pub fn dtype(&self) -> Dtype {
        let first = self.matrices[0].dtype;
        match self.matrices.iter().all(|m| m.dtype == first) {
            true => first,
            false => Dtype::F32,
        }
    }
}

/// A normalisation's weight, and its bias where the family has one.
pub struct Norm {
    pub weight: Vec<f32>,
    pub bias: Option<Vec<f32>>,
}
