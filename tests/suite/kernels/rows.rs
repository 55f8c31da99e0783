//! `rms_norm`, `layer_norm`, `head_norm` and `embed`: what works on each row alone.

use anyhow::{Result, ensure};
use half::{bf16, f16};
use libtest_mimic::Trial;
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::kernels::{embed, head_norm, layer_norm, rms_norm};
use ztt_wgpu::model::tensor::Dtype;

use super::{DTYPES, Expected, Listing, POISON, Within};
use super::{bits, buffer, pack, padded, run, stored, values};
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
        adapter::trial("kernels::embed", |gpu| every_embedding(&gpu)),
        adapter::trial("kernels::embed_of_every_16_bit_value", |gpu| {
            every_16_bit_value(&gpu)
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
        adapter::trial("kernels::controls::embed", |gpu| {
            embedding(&gpu, 65, 5, Dtype::F32, true, 0)?;
            let wrong = embedding(&gpu, 65, 5, Dtype::F32, true, 1);
            ensure!(wrong.is_err(), "a wrong token passes");
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
    let qkv = listing.rows(stride, n_values, f32::NAN, random);
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

fn every_embedding(gpu: &Gpu) -> Result<()> {
    for &(width, n_listed) in SHAPES {
        for dtype in DTYPES {
            for positions in [false, true] {
                embedding(gpu, width, n_listed, dtype, positions, 0)?;
            }
        }
    }
    Ok(())
}

/// Tokens 4, 5 ... 10 lie in the buffer, the first and last of them included. `planted` is
/// added to the token of the first row.
fn embedding(
    gpu: &Gpu,
    width: usize,
    n_listed: usize,
    dtype: Dtype,
    with_positions: bool,
    planted: u32,
) -> Result<()> {
    const FIRST: u32 = 4;
    const N_TOKENS: u32 = 7;
    let random = &mut Random::new(width as u64);
    let stride = padded(width);
    let mut listing = Listing::new(n_listed);
    listing.positions.reverse();
    let n_rows = listing.n_rows();
    // The rows of the list take turns: the first token here, the last, the one before, the one
    // after, and one in the middle.
    let mut ids = vec![FIRST; n_rows];
    for (i, &row) in listing.listed.iter().enumerate() {
        ids[row] = [
            FIRST,
            FIRST + N_TOKENS - 1,
            FIRST - 1,
            FIRST + N_TOKENS,
            FIRST + 2,
        ][i % 5];
    }
    let matrix = stored(dtype, &values(random, N_TOKENS as usize * width), width);
    let mut positions = vec![0.0; n_rows * stride];
    for row in positions.chunks_mut(stride) {
        row[..width].copy_from_slice(&values(random, width));
    }
    let x = vec![POISON; n_rows * stride];
    let mut expected = Expected::new(&x);
    for &row in &listing.listed {
        if !(FIRST..FIRST + N_TOKENS).contains(&ids[row]) {
            continue;
        }
        let embedding = &matrix.values[(ids[row] - FIRST) as usize * width..][..width];
        let position = &positions[listing.positions[row] as usize * stride..];
        let value = |c: usize| {
            let learned = if with_positions { position[c] } else { 0.0 };
            f64::from(embedding[c]) + f64::from(learned)
        };
        let mut values: Vec<f64> = (0..width).map(value).collect();
        values.resize(stride, 0.0);
        expected.put(row * stride, values);
    }
    ids[listing.listed[0]] += planted;
    let params = embed::Params {
        n_octets: stride as u32 / 8,
        first_token: FIRST,
        n_tokens: N_TOKENS,
        list: listing.list(),
        has_positions: with_positions.into(),
    };
    let (ids, weights) = (buffer(gpu, &ids), buffer(gpu, &matrix.words));
    let (positions, x) = (buffer(gpu, &positions), buffer(gpu, &x));
    let rows = buffer(gpu, &listing.values());
    let call = embed::call(dtype, params, [&ids, &weights, &positions, &rows, &x]);
    let out = run(gpu, call, listing.n_listed() + 3, &[&x])?;
    let what = format!("{width} {dtype:?}, {n_listed} rows, positions {with_positions}");
    // One sum of two numbers at most, which is rounded correctly.
    expected.check(&what, &out[0], Within::Exact)
}

/// Every finite f16 and bf16 must widen exactly; subnormal numbers may become zero instead.
fn every_16_bit_value(gpu: &Gpu) -> Result<()> {
    const WIDTH: usize = 256;
    for dtype in [Dtype::F16, Dtype::Bf16] {
        let widen = |bits: u16| match dtype {
            Dtype::F16 => f16::from_bits(bits).to_f32(),
            _ => bf16::from_bits(bits).to_f32(),
        };
        let all: Vec<u16> = (0..=u16::MAX).collect();
        let n_rows = all.len() / WIDTH;
        let listing = Listing::new(n_rows);
        let mut ids = vec![0; listing.n_rows()];
        for (token, &row) in listing.listed.iter().enumerate() {
            ids[row] = token as u32;
        }
        let params = embed::Params {
            n_octets: WIDTH as u32 / 8,
            first_token: 0,
            n_tokens: n_rows as u32,
            list: listing.list(),
            has_positions: 0,
        };
        let x = buffer(gpu, &vec![POISON; listing.n_rows() * WIDTH]);
        let (ids, weights) = (buffer(gpu, &ids), buffer(gpu, &pack(&all)));
        let (positions, rows) = (buffer(gpu, &[0u32; 4]), buffer(gpu, &listing.values()));
        let call = embed::call(dtype, params, [&ids, &weights, &positions, &rows, &x]);
        let out = run(gpu, call, listing.n_listed(), &[&x])?.remove(0);
        for (token, &row) in listing.listed.iter().enumerate() {
            for c in 0..WIDTH {
                let bits = all[token * WIDTH + c];
                let (expected, found) = (widen(bits), f32::from_bits(out[row * WIDTH + c]));
                let subnormal = bits & if dtype == Dtype::F16 { 0x7c00 } else { 0x7f80 } == 0;
                ensure!(
                    !expected.is_finite() || found == expected || (subnormal && found == 0.0),
                    "{dtype:?} {bits:#06x} is {expected:e}, not {found:e}"
                );
            }
        }
    }
    Ok(())
}
