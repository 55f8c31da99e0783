//! `cap_logits`.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::kernels::cap_logits::{Params, call};

use super::{Expected, POISON, Within};
use super::{bits, buffer, run, tolerance, values};
use crate::adapter;
use crate::random::Random;

/// Tokens and rows; a workgroup has 256 tokens.
const SHAPES: &[(usize, usize)] = &[(5, 1), (67, 3), (256, 2), (257, 2), (1000, 4)];

/// Multiplier and cap.
const CAPS: [(f32, Option<f32>); 4] = [
    (1.0, Some(30.0)),
    (0.0625, None),
    (2.5, Some(15.0)),
    (0.5, Some(5.0)),
];

/// Logits that are not finite, and where they lie in the first row.
const NOT_FINITE: [f32; 3] = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
const AT: usize = 1;

/// Of the cap. WGSL lets `tanh` be off by 1e-5.
const TOLERANCE: f64 = 3e-7;
const COARSE: f64 = 2e-5;

pub fn trials() -> Vec<Trial> {
    vec![
        adapter::trial("kernels::cap_logits", |gpu| {
            for &(n_vocab, n_rows) in SHAPES {
                for cap in CAPS {
                    check(&gpu, [n_vocab, n_rows], cap, 0.0)?;
                }
            }
            Ok(())
        }),
        adapter::trial("kernels::controls::cap_logits", |gpu| {
            for cap in CAPS {
                let wrong = check(&gpu, [67, 3], cap, 0.1);
                ensure!(wrong.is_err(), "{cap:?}: a wrong logit passes");
            }
            Ok(())
        }),
    ]
}

/// `planted` is an error in the first logit.
fn check(
    gpu: &Gpu,
    [n_vocab, n_rows]: [usize; 2],
    (multiplier, soft_cap): (f32, Option<f32>),
    planted: f32,
) -> Result<()> {
    let random = &mut Random::new(n_vocab as u64);
    let stride = n_vocab + 3;
    // A row more than is worked on.
    let mut logits = vec![POISON; (n_rows + 1) * stride];
    for row in logits.chunks_mut(stride).take(n_rows) {
        row[..n_vocab].copy_from_slice(&bits(&values(random, n_vocab)));
    }
    logits[0] = 0.25_f32.to_bits();
    logits[AT..AT + NOT_FINITE.len()].copy_from_slice(&bits(&NOT_FINITE));
    let mut expected = Expected::new(&logits);
    for row in 0..n_rows {
        let value = |token: usize| {
            let logit = f32::from_bits(logits[row * stride + token]);
            let value = f64::from(multiplier) * f64::from(logit);
            let cap = soft_cap.map(f64::from);
            cap.map_or(value, |cap| cap * (value / cap).tanh())
        };
        // Those that are not finite stay as they are.
        let first = match row {
            0 => AT + NOT_FINITE.len(),
            _ => 0,
        };
        expected.put(row * stride + first, (first..n_vocab).map(value).collect());
        if row == 0 {
            expected.put(0, vec![value(0)]);
        }
    }
    let mut planted_logits = logits.clone();
    planted_logits[0] = (f32::from_bits(logits[0]) + planted).to_bits();
    let buffer = buffer(gpu, &planted_logits);
    let params = Params {
        n_vocab: n_vocab as u32,
        stride: stride as u32,
        multiplier,
        soft_cap: soft_cap.unwrap_or(0.0),
    };
    let mut out = run(gpu, call(params, &buffer), n_rows as u32, &[&buffer])?.remove(0);
    // One bit pattern of many is as good as another.
    let nan = AT + NOT_FINITE.len() - 1;
    ensure!(f32::from_bits(out[nan]).is_nan(), "NaN becomes a number");
    out[nan] = logits[nan];
    let what = format!("{n_vocab} tokens, {n_rows} rows, {multiplier}, cap {soft_cap:?}");
    let within = match soft_cap {
        // One product, which is rounded correctly.
        None => Within::Exact,
        Some(cap) => Within::Absolute(f64::from(cap) * tolerance(gpu, TOLERANCE, COARSE)),
    };
    expected.check(&what, &out, within)
}
