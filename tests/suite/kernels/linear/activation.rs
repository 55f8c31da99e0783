//! Activations by themselves: small results, too, have few wrong bits.

use anyhow::{Result, ensure};
use ztt_wgpu::gpu::{Gpu, KernelClass, Resource};
use ztt_wgpu::kernels::BatchKind;
use ztt_wgpu::kernels::linear::{Map, Operands, Output, call};
use ztt_wgpu::model::block::Activation;
use ztt_wgpu::model::tensor::Dtype;

use super::super::{Listing, POISON};
use super::super::{buffer, run, target, tolerance};
use super::mlp;
use super::sum::Sum;

/// Relative. `exp` of -12.5 is off by so much; on hardware it may be by 28 units in the last place.
const TOLERANCE: f64 = 4e-6;
const COARSE: f64 = 2e-5;

/// GELU by tanh is left out: it is a difference of close numbers where `v` is negative.
const RELATIVE: [Activation; 4] = [
    Activation::Silu,
    Activation::Gelu,
    Activation::Relu,
    Activation::ReluSquared,
];

pub fn relative(gpu: &Gpu) -> Result<()> {
    for activation in RELATIVE {
        check(gpu, activation, activation)?;
    }
    let wrong = check(gpu, Activation::Gelu, Activation::GeluTanh);
    ensure!(wrong.is_err(), "GELU passes for its tanh form");
    Ok(())
}

/// The activations of 1 times weights from -5 to 5, compared with those of `expected`.
fn check(gpu: &Gpu, activation: Activation, expected: Activation) -> Result<()> {
    let values: Vec<f32> = (0..=1000).map(|i| (i - 500) as f32 / 100.0).collect();
    let n = values.len();
    let octet = |value: f32| [value, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let weights: Vec<[f32; 8]> = values.iter().map(|&v| octet(v)).collect();
    let listing = Listing::new(1);
    let x = buffer(gpu, &vec![octet(1.0); listing.n_rows()]);
    let y = buffer(gpu, &vec![POISON; listing.n_rows() * n]);
    let (weights, rows) = (buffer(gpu, &weights), buffer(gpu, &listing.values()));
    let map = Map {
        n_in_octets: 1,
        n_out: n as u32,
        list: listing.list(),
        ..Map::default()
    };
    let operands = Operands {
        x: &x,
        packed: Resource::Unused,
        weights: Resource::Buffer(&weights),
        bias: None,
        rows: &rows,
        norm: None,
    };
    let output = Output::Rows {
        y: &y,
        stride: n as u32,
        epilogue: mlp(activation, false),
        accumulate: false,
    };
    let target = target(gpu, KernelClass::Workgroup, 8);
    let call = call(
        &target,
        BatchKind::OneRow,
        Dtype::F32,
        map,
        operands,
        output,
    );
    let out = run(gpu, call, listing.n_listed(), &[&y])?.remove(0);
    let allowed = tolerance(gpu, TOLERANCE, COARSE);
    let found = &out[listing.listed[0] * n..];
    for (&value, &bits) in values.iter().zip(found) {
        let found = f64::from(f32::from_bits(bits));
        let expected = Sum::of(value.into()).activated(expected).value;
        ensure!(
            (found - expected).abs() <= allowed * expected.abs(),
            "{activation:?} of {value} is {expected:e}, not {found:e}"
        );
    }
    Ok(())
}
