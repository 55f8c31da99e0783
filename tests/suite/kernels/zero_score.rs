//! `zero_score`: the score of a cycle from the zero attention of its layers.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::kernels::zero_score::{Params, call, reduce_constant};
use ztt_wgpu::model::config::Reduce;

use super::{Expected, Listing, POISON, Within, buffer, run};
use crate::adapter;
use crate::compare::same;
use crate::random::Random;

const LISTED: [usize; 5] = [0, 1, 5, 64, 130];
const REDUCES: [Reduce; 5] = [
    Reduce::Mean,
    Reduce::Max,
    Reduce::Min,
    Reduce::First,
    Reduce::Last,
];

/// Layers and heads; a workgroup has 64 lanes.
const SHAPES: [(usize, usize); 5] = [(1, 1), (2, 9), (5, 12), (3, 4), (70, 3)];

const N_CYCLES: usize = 4;

/// Scores are below 1 and made of a few sums: up to 1e-7.
const TOLERANCE: f64 = 3e-7;

pub fn trials() -> Vec<Trial> {
    vec![
        adapter::trial("kernels::zero_score", |gpu| {
            for n_listed in LISTED {
                for (i, shape) in SHAPES.into_iter().enumerate() {
                    for (j, reduce) in REDUCES.into_iter().enumerate() {
                        check(&gpu, n_listed, shape, reduce, (i + j) % N_CYCLES, 0.0)?;
                    }
                }
            }
            Ok(())
        }),
        adapter::trial("kernels::controls::zero_score", |gpu| {
            let wrong = check(&gpu, 65, (2, 9), Reduce::Mean, 1, 1e-3);
            ensure!(wrong.is_err(), "a wrong score passes");
            Ok(())
        }),
    ]
}

/// `planted` is an error in the zero attention of the first listed row.
fn check(
    gpu: &Gpu,
    n_listed: usize,
    (n_layers, n_heads): (usize, usize),
    reduce: Reduce,
    cycle: usize,
    planted: f32,
) -> Result<()> {
    let random = &mut Random::new((n_listed * 100 + n_layers) as u64);
    let listing = Listing::new(n_listed);
    let n_rows = listing.n_rows();
    let row_words = n_layers * n_heads;
    let mut zeros = vec![f32::NAN; n_rows * row_words];
    for &row in &listing.listed {
        let row = &mut zeros[row * row_words..][..row_words];
        row.iter_mut()
            .for_each(|value| *value = random.unit() as f32);
    }
    let progress = vec![POISON; n_rows * (1 + N_CYCLES)];
    let mut expected = Expected::new(&progress);
    for &row in &listing.listed {
        let layers = zeros[row * row_words..].chunks(n_heads).take(n_layers);
        let layers = layers.map(|l| l.iter().map(|&p| f64::from(p)).sum::<f64>());
        let layers: Vec<f64> = layers.map(|sum| sum / n_heads as f64).collect();
        let at = row * (1 + N_CYCLES) + 1 + cycle;
        expected.put(at, vec![reduced(&layers, reduce)]);
    }
    if let Some(&row) = listing.listed.first() {
        zeros[row * row_words] += planted * row_words as f32;
    }
    let params = Params {
        n_middle_layers: n_layers as u32,
        n_heads: n_heads as u32,
        reduce: reduce_constant(reduce),
        cycle: cycle as u32,
        n_cycles: N_CYCLES as u32,
        list: listing.list(),
    };
    let (zeros, rows) = (buffer(gpu, &zeros), buffer(gpu, &listing.values()));
    let progress_buffer = buffer(gpu, &progress);
    let call = call(params, [&zeros, &rows, &progress_buffer]);
    let out = run(gpu, call, n_listed.max(1) as u32, &[&progress_buffer])?;
    let what = format!("{n_listed} rows, {n_layers} x {n_heads}, {reduce:?}");
    match n_listed {
        0 => same(&what, &out[0], &progress),
        _ => expected.check(&what, &out[0], Within::Absolute(TOLERANCE)),
    }
}

/// The score of a row from those of its layers.
fn reduced(layers: &[f64], reduce: Reduce) -> f64 {
    match reduce {
        Reduce::Mean => layers.iter().sum::<f64>() / layers.len() as f64,
        Reduce::Max => layers.iter().copied().fold(f64::MIN, f64::max),
        Reduce::Min => layers.iter().copied().fold(f64::MAX, f64::min),
        Reduce::First => layers[0],
        Reduce::Last => layers[layers.len() - 1],
    }
}
