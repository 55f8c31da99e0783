//! `norm_add`.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use ztt_wgpu::gpu::{Gpu, KernelClass};
use ztt_wgpu::kernels::norm_add::{Operands, Params, Place, call};
use ztt_wgpu::model::family::NormKind;

use super::{Expected, Listing, POISON, Piece, Within};
use super::{bits, buffer, norm as norm_of, padded, run, target, values};
use crate::adapter;
use crate::random::Random;

/// Columns used, and listed rows.
const SHAPES: &[(usize, usize)] = &[(1, 1), (7, 2), (64, 5), (65, 9), (130, 1), (577, 5)];

const PLACES: [Place; 4] = [Place::Add, Place::OnBranch, Place::OnSum, Place::Stream];
const KINDS: [NormKind; 2] = [NormKind::Rms, NormKind::Layer];

const EPS: f32 = 1e-5;
const MULTIPLIER: f32 = 0.37;

/// A few roundings of 6e-8, up to 1.4e-7 in all.
const TOLERANCE: f64 = 6e-7;

pub fn trials() -> Vec<Trial> {
    vec![
        adapter::trial("kernels::norm_add", |gpu| every_case(&gpu)),
        adapter::trial("kernels::controls::norm_add", |gpu| {
            for place in PLACES {
                let check = |planted| {
                    let class = KernelClass::Workgroup;
                    check(&gpu, class, place, NormKind::Layer, [65, 5], planted)
                };
                check(0.0)?;
                ensure!(check(0.1).is_err(), "{place:?}: a wrong value passes");
            }
            Ok(())
        }),
    ]
}

fn every_case(gpu: &Gpu) -> Result<()> {
    // Classes with workgroups of several sizes.
    for class in [KernelClass::Software, KernelClass::Workgroup] {
        for place in PLACES {
            for kind in KINDS {
                for &(n_cols, n_listed) in SHAPES {
                    check(gpu, class, place, kind, [n_cols, n_listed], 0.0)?;
                }
            }
        }
    }
    Ok(())
}

/// `planted` is an error in a value of the branch, or of the norm where there is no branch.
fn check(
    gpu: &Gpu,
    class: KernelClass,
    place: Place,
    kind: NormKind,
    [n_cols, n_listed]: [usize; 2],
    planted: f32,
) -> Result<()> {
    let random = &mut Random::new(n_cols as u64);
    let listing = Listing::new(n_listed);
    let stride = padded(n_cols);
    // What is not used must stay as it is.
    let mut x = vec![POISON; listing.n_rows() * stride];
    for &row in &listing.listed {
        x[row * stride..][..n_cols].copy_from_slice(&bits(&values(random, n_cols)));
    }
    let mut branch = listing.rows(stride, n_cols, f32::NAN, random);
    let mut norm = values(random, n_cols);
    norm.resize(stride, f32::NAN);
    norm.extend(values(random, n_cols));
    norm.resize(2 * stride, f32::NAN);
    let mut expected = Expected::new(&x);
    for &row in &listing.listed {
        let at = row * stride;
        let stream: Vec<f64> = x[at..][..n_cols]
            .iter()
            .map(|&v| f32::from_bits(v).into())
            .collect();
        let scale = f64::from(MULTIPLIER);
        let added: Vec<f64> = branch[at..][..n_cols].iter().map(|&v| v.into()).collect();
        let sum = |added: &[f64]| -> Vec<f64> {
            let pairs = stream.iter().zip(added);
            pairs.map(|(x, added)| x + scale * added).collect()
        };
        let values = match place {
            Place::Add => sum(&added),
            Place::OnBranch => sum(&normed(kind, &added, &norm, stride)),
            Place::OnSum => normed(kind, &sum(&added), &norm, stride),
            Place::Stream => normed(kind, &stream, &norm, stride),
        };
        // What is added may cancel.
        let size = match place {
            Place::Add | Place::OnBranch => norm_of(&values).max(norm_of(&stream)),
            Place::OnSum | Place::Stream => norm_of(&values),
        };
        expected.pieces.push(Piece { at, values, size });
    }
    match place {
        Place::Stream => norm[n_cols / 2] += planted,
        _ => branch[listing.listed[0] * stride] += planted,
    }
    let (branch, norm, x) = (buffer(gpu, &branch), buffer(gpu, &norm), buffer(gpu, &x));
    let rows = buffer(gpu, &listing.values());
    let params = Params {
        n_cols: n_cols as u32,
        stride: stride as u32,
        list: listing.list(),
        eps: EPS,
        multiplier: MULTIPLIER,
    };
    let operands = Operands {
        branch: (place != Place::Stream).then_some(&branch),
        norm: (place != Place::Add).then_some(&norm),
        rows: &rows,
        x: &x,
    };
    let call = call(&target(gpu, class, 8), params, place, kind, operands);
    // Workgroups past the end of the list have nothing to do.
    let out = run(gpu, call, listing.n_listed() + 3, &[&x])?;
    let what = format!("{place:?}, {kind:?} of {n_cols} columns, {n_listed} rows");
    expected.check(&what, &out[0], Within::Relative(TOLERANCE))
}

/// `norm`: weights, and biases from `stride` on.
fn normed(kind: NormKind, row: &[f64], norm: &[f32], stride: usize) -> Vec<f64> {
    let mean_of = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let mean = match kind {
        NormKind::Rms => 0.0,
        NormKind::Layer => mean_of(row),
    };
    let squares: Vec<f64> = row.iter().map(|v| (v - mean).powi(2)).collect();
    let scale = 1.0 / (mean_of(&squares) + f64::from(EPS)).sqrt();
    let value = |(i, v): (usize, &f64)| {
        let bias = match kind {
            NormKind::Rms => 0.0,
            NormKind::Layer => norm[stride + i].into(),
        };
        (v - mean) * scale * f64::from(norm[i]) + bias
    };
    row.iter().enumerate().map(value).collect()
}
