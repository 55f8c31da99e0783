//! The MLP's non-linearity, in double precision.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use crate::model::block::{Activation, Mlp};

/// What the MLP makes of its inputs, gate and up or up alone.
pub(super) fn activate(mlp: Mlp, mut h: Vec<f64>) -> Vec<f64> {
    let up = mlp.gated.then(|| h.split_off(h.len() / 2));
    h.iter_mut().for_each(|x| *x = of_value(mlp.activation, *x));
    if let Some(up) = up {
        h.iter_mut().zip(&up).for_each(|(g, u)| *g *= u);
    }
    h
}

fn of_value(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::GeluTanh => {
            let inner = (2.0 / PI).sqrt() * (x + 0.044715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        }
        Activation::Gelu => 0.5 * x * erfc(-x * FRAC_1_SQRT_2),
        Activation::Relu => x.max(0.0),
        Activation::ReluSquared => x.max(0.0).powi(2),
    }
}

/// `1 - erf(z)`, with a relative error below 1e-12: by erf's series near 0, by Laplace's continued
/// fraction elsewhere (Abramowitz and Stegun 7.1.6 and 7.1.14).
fn erfc(z: f64) -> f64 {
    if z < 0.0 {
        return 2.0 - erfc(-z);
    }
    if z < 2.0 {
        let (mut term, mut sum) = (z, z);
        let mut n = 1.0;
        while term > 1e-18 * sum {
            term *= 2.0 * z * z / (2.0 * n + 1.0);
            sum += term;
            n += 1.0;
        }
        return 1.0 - 2.0 / PI.sqrt() * (-z * z).exp() * sum;
    }
    // From the innermost of the fraction's terms.
    let fraction = (1..=80u32)
        .rev()
        .fold(z, |rest, n| z + 0.5 * f64::from(n) / rest);
    (-z * z).exp() / PI.sqrt() / fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values by Python's `math.erfc`.
    #[test]
    fn erfc_keeps_its_relative_precision() {
        for (z, expected) in [
            (-3.0, 1.9999779095030015),
            (-0.7, 1.6778011938374184),
            (-1e-09, 1.0000000011283792),
            (0.3, 0.6713732405408726),
            (1.0, 0.15729920705028513),
            (1.99, 0.004888586800383003),
            (2.0, 0.004677734981047265),
            (2.5, 0.0004069520174449589),
            (5.0, 1.5374597944280351e-12),
            (9.0, 4.13703174651381e-37),
            (26.0, 5.663192408856143e-296),
        ] {
            let found = erfc(z);
            let error = (found / expected - 1.0).abs();
            assert!(error < 1e-12, "erfc({z}) = {found:e}, {error:e} off");
        }
        assert_eq!(erfc(0.0), 1.0);
        assert_eq!(erfc(40.0), 0.0);
    }

    #[test]
    fn activations_follow_their_formulas() {
        for (activation, expected) in [
            (
                Activation::Silu,
                [
                    -0.14227761953270035,
                    -0.1887703343990727,
                    0.0,
                    1.7615941559557646,
                ],
            ),
            (
                Activation::GeluTanh,
                [
                    -0.0036373920817729943,
                    -0.15428599017485606,
                    0.0,
                    1.954597694087775,
                ],
            ),
            (
                Activation::Gelu,
                [
                    -0.004049694094890287,
                    -0.15426876936299344,
                    0.0,
                    1.9544997361036416,
                ],
            ),
            (Activation::Relu, [0.0, 0.0, 0.0, 2.0]),
            (Activation::ReluSquared, [0.0, 0.0, 0.0, 4.0]),
        ] {
            for (x, expected) in [-3.0, -0.5, 0.0, 2.0].into_iter().zip(expected) {
                let found = of_value(activation, x);
                assert!(
                    (found - expected).abs() < 1e-12,
                    "{activation:?} {x} {found}"
                );
            }
        }
    }

    #[test]
    fn a_gate_comes_before_up() {
        let relu = |gated| Mlp {
            gated,
            activation: Activation::Relu,
        };
        let h = vec![-1.0, 2.0, 3.0, -4.0];
        assert_eq!(activate(relu(false), h.clone()), [0.0, 2.0, 3.0, 0.0]);
        assert_eq!(activate(relu(true), h), [0.0, -8.0]);
    }
}
