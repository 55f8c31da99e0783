//! The output stage's function.

use crate::model::block::{Activation, Mlp};

/// The function applied to the sums before they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epilogue {
    None,
    /// The activation of an MLP. Where it is gated, outputs are (gate, up) pairs, and half as many
    /// values `activation(gate) * up` are written.
    Mlp(Mlp),
}

impl Epilogue {
    /// Outputs that one value is made of.
    pub fn outputs_a_value(self) -> u32 {
        match self {
            Epilogue::Mlp(Mlp { gated: true, .. }) => 2,
            _ => 1,
        }
    }

    /// The values of the shaders' `ACTIVATION` and `GATED`.
    pub(super) fn constants(self) -> [(&'static str, u32); 2] {
        let activation = match self {
            Epilogue::None => 0,
            Epilogue::Mlp(mlp) => match mlp.activation {
                Activation::GeluTanh => 1,
                Activation::Silu => 2,
                Activation::Gelu => 3,
                Activation::Relu => 4,
                Activation::ReluSquared => 5,
            },
        };
        let is_gated = self.outputs_a_value() == 2;
        [("ACTIVATION", activation), ("GATED", is_gated.into())]
    }
}
