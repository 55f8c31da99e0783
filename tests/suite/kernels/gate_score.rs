//! `gate_score`: the score of a cycle from a learned gate.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use ztt_wgpu::gpu::{Gpu, KernelClass};
use ztt_wgpu::kernels::gate_score::{Params, call};

use super::{Expected, Listing, POISON, Within, buffer, padded, run, target};
use crate::adapter;
use crate::compare::same;
use crate::random::Random;

const LISTED: [usize; 4] = [0, 1, 5, 130];
const COLUMNS: [usize; 5] = [1, 7, 64, 130, 577];
const CLASSES: [KernelClass; 2] = [KernelClass::Software, KernelClass::Workgroup];
const N_CYCLES: usize = 4;

/// Logits are below 10 in size, and scores rise by a quarter of their error at most.
const TOLERANCE: f64 = 2e-6;

pub fn trials() -> Vec<Trial> {
    vec![
        adapter::trial("kernels::gate_score", |gpu| {
            for class in CLASSES {
                for n_listed in LISTED {
                    for (i, n_cols) in COLUMNS.into_iter().enumerate() {
                        for cycle in [0, 1 + i % 2, N_CYCLES - 1] {
                            check(&gpu, class, [n_listed, n_cols], cycle, 0.0)?;
                        }
                    }
                }
            }
            Ok(())
        }),
        adapter::trial("kernels::controls::gate_score", |gpu| {
            let class = KernelClass::Workgroup;
            let wrong = check(&gpu, class, [5, 65], 1, 1e-2);
            ensure!(wrong.is_err(), "a wrong bias passes");
            Ok(())
        }),
    ]
}

/// Of a row that may run no cycle more the score is 1: here of every third that is listed.
/// `planted` is an error in the bias.
fn check(
    gpu: &Gpu,
    class: KernelClass,
    [n_listed, n_cols]: [usize; 2],
    cycle: usize,
    planted: f32,
) -> Result<()> {
    let random = &mut Random::new((n_listed * 1000 + n_cols) as u64);
    let mut listing = Listing::new(n_listed);
    let n_rows = listing.n_rows();
    let stride = padded(n_cols);
    let mut value = |size: f64| ((2.0 * random.unit() - 1.0) * size) as f32;
    let mut gate = vec![f32::NAN; stride + 1];
    gate[..n_cols].fill_with(|| value(3.0 / (n_cols as f64).sqrt()));
    gate[stride] = value(1.0);
    let mut x = vec![f32::NAN; n_rows * stride];
    let mut progress = vec![POISON; n_rows * (1 + N_CYCLES)];
    let mut before = vec![0.0f32; n_rows];
    for (i, &row) in listing.listed.iter().enumerate() {
        x[row * stride..][..n_cols].fill_with(|| value(1.0));
        if i % 3 == 2 {
            listing.rules[row][2] = cycle as u32 + 1;
        }
        if cycle > 0 {
            before[row] = 0.5 + 0.5 * value(1.0);
            progress[row * (1 + N_CYCLES) + cycle] = before[row].to_bits();
        }
    }
    let mut expected = Expected::new(&progress);
    for &row in &listing.listed {
        let products = x[row * stride..].iter().zip(&gate[..n_cols]);
        let products = products.map(|(&x, &g)| f64::from(x) * f64::from(g));
        let logit = products.sum::<f64>() + f64::from(gate[stride]);
        let survival = (1.0 - f64::from(before[row])) / (1.0 + logit.exp());
        let is_last = cycle + 1 >= N_CYCLES.min(listing.rules[row][2] as usize);
        let score = if is_last { 1.0 } else { 1.0 - survival };
        expected.put(row * (1 + N_CYCLES) + 1 + cycle, vec![score]);
    }
    gate[stride] += planted;
    let params = Params {
        n_cols: n_cols as u32,
        stride: stride as u32,
        cycle: cycle as u32,
        n_cycles: N_CYCLES as u32,
        list: listing.list(),
    };
    let (x, gate) = (buffer(gpu, &x), buffer(gpu, &gate));
    let (rows, progress_buffer) = (buffer(gpu, &listing.values()), buffer(gpu, &progress));
    let target = target(gpu, class, 8);
    let call = call(&target, params, [&x, &gate, &rows, &progress_buffer]);
    let out = run(gpu, call, n_listed.max(1) as u32, &[&progress_buffer])?;
    let what = format!("{n_listed} rows of {n_cols}, cycle {cycle}");
    match n_listed {
        0 => same(&what, &out[0], &progress),
        _ => expected.check(&what, &out[0], Within::Absolute(TOLERANCE)),
    }
}
