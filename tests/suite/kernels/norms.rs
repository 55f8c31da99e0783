//! `rms_norm` and `layer_norm`.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use ztt_wgpu::gpu::{Gpu, KernelClass};
use ztt_wgpu::kernels::{layer_norm, rms_norm};

use super::{Expected, Listing, POISON, Within};
use super::{buffer, padded, run, target, values};
use crate::adapter;
use crate::random::Random;

/// Columns used, and listed rows.
const SHAPES: &[(usize, usize)] = &[(1, 1), (7, 2), (64, 5), (65, 9), (130, 1), (577, 5)];

const EPS: f32 = 1e-5;

/// Sums of squares do not cancel: a few roundings of 6e-8 are left, up to 1.9e-7 in all.
const TOLERANCE: f64 = 6e-7;

pub fn trials() -> Vec<Trial> {
    vec![
        adapter::trial("kernels::rms_norm", |gpu| every_norm(&gpu, Norm::Rms)),
        adapter::trial("kernels::layer_norm", |gpu| every_norm(&gpu, Norm::Layer)),
        adapter::trial("kernels::controls::norms", |gpu| {
            for kind in [Norm::Rms, Norm::Layer] {
                let class = KernelClass::Workgroup;
                norm(&gpu, kind, class, [65, 5], false, 0.0)?;
                let wrong = norm(&gpu, kind, class, [65, 5], false, 0.1);
                ensure!(wrong.is_err(), "{kind:?}: a wrong weight passes");
            }
            Ok(())
        }),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Norm {
    Rms,
    Layer,
}

/// Classes with workgroups of several sizes.
const CLASSES: [KernelClass; 2] = [KernelClass::Software, KernelClass::Workgroup];

fn every_norm(gpu: &Gpu, kind: Norm) -> Result<()> {
    for class in CLASSES {
        for &(n_cols, n_listed) in SHAPES {
            for dense in [false, true] {
                norm(gpu, kind, class, [n_cols, n_listed], dense, 0.0)?;
            }
        }
    }
    Ok(())
}

/// `planted` is an error in one weight.
fn norm(
    gpu: &Gpu,
    kind: Norm,
    class: KernelClass,
    [n_cols, n_listed]: [usize; 2],
    dense: bool,
    planted: f32,
) -> Result<()> {
    let random = &mut Random::new(n_cols as u64);
    let listing = Listing::new(n_listed);
    let stride = padded(n_cols);
    let x = listing.rows(stride, n_cols, f32::NAN, random);
    let mut weight = values(random, n_cols);
    let bias = values(random, n_cols);
    let y = vec![POISON; x.len()];
    let mut expected = Expected::new(&y);
    for (i, &row) in listing.listed.iter().enumerate() {
        let x: Vec<f64> = x[row * stride..][..n_cols]
            .iter()
            .map(|&v| v.into())
            .collect();
        let mean_of = |values: &[f64]| values.iter().sum::<f64>() / n_cols as f64;
        let mean = match kind {
            Norm::Rms => 0.0,
            Norm::Layer => mean_of(&x),
        };
        let squares: Vec<f64> = x.iter().map(|v| (v - mean).powi(2)).collect();
        let scale = 1.0 / (mean_of(&squares) + f64::from(EPS)).sqrt();
        let value = |c: usize| {
            let scaled = (x[c] - mean) * scale * f64::from(weight[c]);
            scaled
                + if kind == Norm::Layer {
                    f64::from(bias[c])
                } else {
                    0.0
                }
        };
        let to = if dense { i } else { row };
        expected.put(to * stride, (0..n_cols).map(value).collect());
    }
    weight[n_cols / 2] += planted;
    let (x, y) = (buffer(gpu, &x), buffer(gpu, &y));
    let mut norm = weight;
    norm.resize(stride, f32::NAN);
    norm.extend(bias);
    let norm = buffer(gpu, &norm);
    let rows = buffer(gpu, &listing.values());
    let (n_cols, stride) = (n_cols as u32, stride as u32);
    let (list, dense, eps) = (listing.list(), dense.into(), EPS);
    let target = target(gpu, class, 8);
    let call = match kind {
        Norm::Rms => rms_norm::call(
            &target,
            rms_norm::Params {
                n_cols,
                stride,
                list,
                dense,
                eps,
            },
            [&x, &norm, &rows, &y],
        ),
        Norm::Layer => layer_norm::call(
            &target,
            layer_norm::Params {
                n_cols,
                stride,
                list,
                dense,
                eps,
            },
            [&x, &norm, &rows, &y],
        ),
    };
    // Workgroups past the end of the list have nothing to do.
    let out = run(gpu, call, listing.n_listed() + 3, &[&y])?;
    let what = format!("{kind:?} of {n_cols} columns, {n_listed} rows, dense {dense}");
    expected.check(&what, &out[0], Within::Relative(TOLERANCE))
}
