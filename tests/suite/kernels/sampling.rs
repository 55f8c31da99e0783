//! Drawing tokens on the device against the host's sampler, over many rows of logits.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use wgpu::BufferUsages;
use ztt_wgpu::engine::sampling::device::DeviceSampler;
use ztt_wgpu::engine::sampling::{Sampler, SamplingOptions};
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::kernels::draw::NO_TOKEN;

use crate::adapter;
use crate::compare::same;
use crate::random::Random;
use crate::thorough;

/// Vocabularies (smaller than a workgroup, of a tiny model, of SmolLM2, of Qwen), and rows of
/// logits that each set of options is tried on.
const VOCABULARIES: [(usize, usize); 4] = [(17, 1000), (1024, 600), (49_152, 30), (151_936, 10)];

/// So that the repeat penalty finds something in the first draw.
const PROMPT: [u32; 5] = [3, 1, 4, 1, 5];

pub fn trials() -> Vec<Trial> {
    let against_host = |&(n_vocab, n_rows): &(usize, usize)| {
        let name = format!("kernels::sampling::equals_the_host::{n_vocab}");
        let n_rows = thorough::repetitions(n_rows);
        adapter::trials_by_class(&name, move |gpu| equals_the_host(&gpu, n_vocab, n_rows))
    };
    let mut trials: Vec<Trial> = VOCABULARIES.iter().flat_map(against_host).collect();
    let of_ties = |gpu: Arc<Gpu>| ties(&gpu);
    trials.extend(adapter::trials_by_class("kernels::sampling::ties", of_ties));
    trials.push(adapter::trial("kernels::sampling::not_finite", |gpu| {
        not_finite(&gpu)
    }));
    trials.push(adapter::trial("kernels::controls::sampling", |gpu| {
        control(&gpu)
    }));
    trials
}

/// Sets of options, each with a name.
fn option_sets(n_vocab: usize) -> Vec<(&'static str, SamplingOptions)> {
    let default = SamplingOptions {
        seed: 0x1234_5678_9abc_def0,
        ..SamplingOptions::default()
    };
    let greedy = SamplingOptions {
        temperature: 0.0,
        ..default.clone()
    };
    let all = SamplingOptions {
        temperature: 1.7,
        top_k: 256.min(n_vocab),
        top_p: 1.0,
        min_p: 0.0,
        ..default.clone()
    };
    let penalized = |options: &SamplingOptions| SamplingOptions {
        repeat_penalty: 1.3,
        ..options.clone()
    };
    vec![
        ("penalized", penalized(&default)),
        ("penalized all", penalized(&all)),
        ("penalized greedy", penalized(&greedy)),
        (
            "cold",
            SamplingOptions {
                temperature: 0.2,
                top_k: 3,
                top_p: 0.999,
                min_p: 0.0,
                ..default.clone()
            },
        ),
        (
            "top-p",
            SamplingOptions {
                temperature: 1.0,
                top_k: 100,
                top_p: 0.6,
                min_p: 0.0,
                ..default.clone()
            },
        ),
        ("default", default),
        ("greedy", greedy),
        ("all", all),
    ]
}

/// A row of logits of one of several kinds.
fn row(random: &mut Random, n_vocab: usize, kind: usize) -> Vec<f32> {
    let spread = [3.0, 0.5, 8.0, 2.0][kind % 4];
    let mut logits: Vec<f32> = random.normals(n_vocab).iter().map(|v| spread * v).collect();
    match kind % 4 {
        // Some tokens stand out, next to each other.
        2 => {
            let first = random.below(n_vocab - 10);
            for (i, logit) in logits[first..first + 10].iter_mut().enumerate() {
                *logit += 20.0 - i as f32 * 0.01;
            }
        }
        // Many are equal.
        3 => logits
            .iter_mut()
            .for_each(|v| *v = (4.0 * *v).round() / 4.0),
        _ => {}
    }
    logits
}

/// The tokens that the device draws from the rows, as one sequence.
fn on_device(gpu: &Gpu, options: &SamplingOptions, rows: &[Vec<f32>]) -> Result<Vec<u32>> {
    let n_vocab = rows[0].len();
    let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST;
    // The padding of the logits to whole quads is NaN.
    let padded = vec![f32::NAN; n_vocab.next_multiple_of(4)];
    let logits = gpu.buffer_with("logits", &padded, usage);
    let ids = gpu.storage("ids", 16);
    let staging = gpu.buffer(
        "staging",
        4 * rows.len() as u64,
        BufferUsages::MAP_READ | BufferUsages::COPY_DST,
    );
    let sampler = Sampler::new(options.clone(), &PROMPT);
    let sampler = DeviceSampler::new(gpu, &sampler, n_vocab, &logits, &ids);
    for (i, row) in rows.iter().enumerate() {
        gpu.queue
            .write_buffer(&logits, 0, bytemuck::cast_slice(row));
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        let n_dispatches = sampler.encode(&mut encoder);
        ensure!(n_dispatches <= 4, "{n_dispatches} dispatches");
        encoder.copy_buffer_to_buffer(&ids, 0, &staging, 4 * i as u64, 4);
        gpu.queue.submit([encoder.finish()]);
    }
    let bytes = pollster::block_on(gpu.read(&staging, 4 * rows.len() as u64))?;
    Ok(bytemuck::pod_collect_to_vec(&bytes))
}

fn on_host(options: &SamplingOptions, rows: &[Vec<f32>]) -> Vec<u32> {
    let mut sampler = Sampler::new(options.clone(), &PROMPT);
    rows.iter().map(|row| sampler.sample(row)).collect()
}

fn n_different(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).filter(|(a, b)| a != b).count()
}

/// No draw may differ. The operations in floating point (a difference, a product, the cut to an
/// integer) are correctly rounded by WGSL's rules, and the rest is integers.
fn equals_the_host(gpu: &Gpu, n_vocab: usize, n_rows: usize) -> Result<()> {
    let mut random = Random::new(n_vocab as u64);
    let rows: Vec<_> = (0..n_rows).map(|i| row(&mut random, n_vocab, i)).collect();
    for (name, options) in option_sets(n_vocab) {
        let found = on_device(gpu, &options, &rows)?;
        let expected = on_host(&options, &rows);
        let n = n_different(&found, &expected);
        ensure!(
            n == 0,
            "{name}: {n} of {n_rows} draws differ from the host's"
        );
    }
    Ok(())
}

/// More equal logits than the device keeps candidates of: the smaller ids win.
fn ties(gpu: &Gpu) -> Result<()> {
    for n_vocab in [1025, 5000] {
        let equal = vec![1.5; n_vocab];
        let mut two_levels: Vec<f32> = (0..n_vocab).map(|i| (i % 2) as f32).collect();
        two_levels[n_vocab - 1] = 2.0;
        let zeros: Vec<f32> = (0..n_vocab).map(|i| [0.0, -0.0][i % 2]).collect();
        let rows = [equal, two_levels, zeros];
        for (name, options) in option_sets(n_vocab) {
            let found = on_device(gpu, &options, &rows)?;
            same(name, &found, &on_host(&options, &rows))?;
        }
    }
    Ok(())
}

/// NaN or infinity anywhere is told from every number, and forgotten with the next row.
fn not_finite(gpu: &Gpu) -> Result<()> {
    const N_VOCAB: usize = 4099;
    let mut random = Random::new(5);
    let good = row(&mut random, N_VOCAB, 0);
    let negative_nan = f32::from_bits(f32::NAN.to_bits() | 1 << 31);
    let mut rows = vec![vec![f32::NAN; N_VOCAB]];
    for value in [f32::NAN, negative_nan, f32::INFINITY, f32::NEG_INFINITY] {
        for at in [0, PROMPT[0] as usize, 2048, N_VOCAB - 1] {
            rows.push(good.clone());
            let mut bad = good.clone();
            bad[at] = value;
            rows.push(bad);
        }
    }
    for (name, options) in option_sets(N_VOCAB) {
        let found = on_device(gpu, &options, &rows)?;
        for (i, &id) in found.iter().enumerate() {
            let is_bad = i % 2 == 0;
            ensure!((id == NO_TOKEN) == is_bad, "{name}: row {i} gives {id}");
        }
    }
    Ok(())
}

/// Another seed, another filter and another penalty must be seen.
fn control(gpu: &Gpu) -> Result<()> {
    let mut random = Random::new(9);
    let rows: Vec<_> = (0..200).map(|_| row(&mut random, 1024, 1)).collect();
    let options = SamplingOptions {
        top_p: 0.8,
        min_p: 0.0,
        repeat_penalty: 1.1,
        ..SamplingOptions::default()
    };
    let expected = on_host(&options, &rows);
    same("the same", &on_device(gpu, &options, &rows)?, &expected)?;
    let others = [
        SamplingOptions {
            seed: 1,
            ..options.clone()
        },
        SamplingOptions {
            top_k: 39,
            ..options.clone()
        },
        SamplingOptions {
            top_p: 0.75,
            ..options.clone()
        },
        SamplingOptions {
            min_p: 0.9,
            ..options.clone()
        },
        SamplingOptions {
            temperature: 0.7,
            ..options.clone()
        },
        SamplingOptions {
            repeat_penalty: 1.0,
            ..options.clone()
        },
    ];
    for other in others {
        let found = on_device(gpu, &other, &rows)?;
        let n = n_different(&found, &expected);
        (n > 0)
            .then_some(())
            .with_context(|| format!("{other:?} passes for {options:?}"))?;
    }
    Ok(())
}
