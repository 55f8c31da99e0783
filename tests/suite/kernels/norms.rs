//! `rms_norm`, `layer_norm` and `head_norm`.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::kernels::{head_norm, layer_norm, rms_norm};

use super::{Expected, Listing, POISON, Within};
use super::{bits, buffer, padded, run, values};
use crate::adapter;
use crate::random::Random;

/// Columns used, and listed rows.
const SHAPES: &[(usize, usize)] = &[(1, 1), (7, 2), (64, 5), (65, 9), (130, 1), (577, 5)];

/// Heads, KV heads, dimensions of a head, and listed rows.
const HEADS: &[(usize, usize, usize, usize)] = &[
    (1, 1, 2, 1),
    (3, 3, 20, 2),
    (9, 1, 64, 5),
    (4, 2, 80, 9),
    (2, 1, 256, 2),
];

const EPS: f32 = 1e-5;

/// Sums of squares do not cancel: a few roundings of 6e-8 are left, up to 1.9e-7 in all.
const TOLERANCE: f64 = 6e-7;

pub fn trials() -> Vec<Trial> {
    vec![
        adapter::trial("kernels::rms_norm", |gpu| every_norm(&gpu, Norm::Rms)),
        adapter::trial("kernels::layer_norm", |gpu| every_norm(&gpu, Norm::Layer)),
        adapter::trial("kernels::head_norm", |gpu| {
            for &shape in HEADS {
                for queries in [false, true] {
                    heads(&gpu, shape, queries, 0.0)?;
                }
            }
            Ok(())
        }),
        adapter::trial("kernels::controls::norms", |gpu| {
            for kind in [Norm::Rms, Norm::Layer] {
                norm(&gpu, kind, 65, 5, false, 0.0)?;
                let wrong = norm(&gpu, kind, 65, 5, false, 0.1);
                ensure!(wrong.is_err(), "{kind:?}: a wrong weight passes");
            }
            Ok(())
        }),
        adapter::trial("kernels::controls::head_norm", |gpu| {
            heads(&gpu, (9, 3, 16, 5), true, 0.0)?;
            let wrong = heads(&gpu, (9, 3, 16, 5), true, 0.1);
            ensure!(wrong.is_err(), "a wrong weight passes");
            Ok(())
        }),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Norm {
    Rms,
    Layer,
}

fn every_norm(gpu: &Gpu, kind: Norm) -> Result<()> {
    for &(n_cols, n_listed) in SHAPES {
        for dense in [false, true] {
            norm(gpu, kind, n_cols, n_listed, dense, 0.0)?;
        }
    }
    Ok(())
}

/// `planted` is an error in one weight.
fn norm(
    gpu: &Gpu,
    kind: Norm,
    n_cols: usize,
    n_listed: usize,
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
    let (weight, bias) = (buffer(gpu, &weight), buffer(gpu, &bias));
    let rows = buffer(gpu, &listing.values());
    let (n_cols, stride) = (n_cols as u32, stride as u32);
    let (list, dense, eps) = (listing.list(), dense.into(), EPS);
    let call = match kind {
        Norm::Rms => rms_norm::call(
            rms_norm::Params {
                n_cols,
                stride,
                list,
                dense,
                eps,
            },
            [&x, &weight, &rows, &y],
        ),
        Norm::Layer => layer_norm::call(
            layer_norm::Params {
                n_cols,
                stride,
                list,
                dense,
                eps,
            },
            [&x, &weight, &bias, &rows, &y],
        ),
    };
    // Workgroups past the end of the list have nothing to do.
    let out = run(gpu, call, listing.n_listed() + 3, &[&y])?;
    let what = format!("{kind:?} of {n_cols} columns, {n_listed} rows, dense {dense}");
    expected.check(&what, &out[0], Within::Relative(TOLERANCE))
}

/// Norms query and key heads in place, or key heads alone. `planted` is an error in one weight
/// of the keys.
fn heads(
    gpu: &Gpu,
    (n_heads, n_kv_heads, head_dim, n_listed): (usize, usize, usize, usize),
    with_queries: bool,
    planted: f32,
) -> Result<()> {
    let random = &mut Random::new(head_dim as u64);
    let listing = Listing::new(n_listed);
    let n_values = (n_heads + 2 * n_kv_heads) * head_dim;
    let stride = padded(n_values);
    let mut qkv = listing.rows(stride, n_values, f32::NAN, random);
    // A norm of NaN would leave no trace.
    qkv.iter_mut().filter(|v| v.is_nan()).for_each(|v| *v = 3.0);
    let mut weight = values(random, 2 * head_dim);
    let mut expected = Expected::new(&bits(&qkv));
    let first_head = if with_queries { 0 } else { n_heads };
    for &row in &listing.listed {
        for head in first_head..n_heads + n_kv_heads {
            let at = row * stride + head * head_dim;
            let x: Vec<f64> = qkv[at..at + head_dim].iter().map(|&v| v.into()).collect();
            let mean = x.iter().map(|v| v * v).sum::<f64>() / head_dim as f64;
            let scale = 1.0 / (mean + f64::from(EPS)).sqrt();
            let weight = &weight[if head < n_heads { 0 } else { head_dim }..];
            let pairs = x.iter().zip(weight);
            expected.put(at, pairs.map(|(x, &w)| x * scale * f64::from(w)).collect());
        }
    }
    weight[head_dim] += planted;
    let params = head_norm::Params {
        n_heads: n_heads as u32,
        first_head: first_head as u32,
        head_dim: head_dim as u32,
        stride: stride as u32,
        list: listing.list(),
        eps: EPS,
    };
    let (weight, qkv) = (buffer(gpu, &weight), buffer(gpu, &qkv));
    let rows = buffer(gpu, &listing.values());
    let n_normed = (n_heads + n_kv_heads - first_head) as u32;
    let call = head_norm::call(n_normed, params, [&weight, &rows, &qkv]);
    let out = run(gpu, call, listing.n_listed() + 3, &[&qkv])?;
    expected.check(&format!("{params:?}"), &out[0], Within::Relative(TOLERANCE))
}
