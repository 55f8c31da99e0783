//! Drawing tokens on the device against the host's sampler, over many rows of logits.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use wgpu::BufferUsages;
use ztt_wgpu::engine::sampling::device::{Changes, DeviceSampler, Inputs};
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
    trials.push(adapter::trial("kernels::sampling::adjusted", |gpu| {
        adjusted(&gpu)
    }));
    trials.push(adapter::trial("kernels::sampling::together", |gpu| {
        together(&gpu)
    }));
    trials.push(adapter::trial("kernels::sampling::guessed", |gpu| {
        guessed(&gpu)
    }));
    trials.push(adapter::trial("kernels::sampling::many_draws", |gpu| {
        many_draws(&gpu)
    }));
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

/// A sampler on the device with the buffers that it draws from.
struct Drawing {
    sampler: DeviceSampler,
    logits: wgpu::Buffer,
    rows: wgpu::Buffer,
    staging: wgpu::Buffer,
    n_vocab: usize,
}

/// Where the list of rows lies that draw: after the rows of so many sequences.
fn list_of(n_sequences: usize) -> u32 {
    (super::ROW_WORDS * n_sequences) as u32
}

impl Drawing {
    /// Every sequence has one row, in falling order.
    fn new(gpu: &Gpu, samplers: &[Sampler], n_vocab: usize) -> Self {
        let n = samplers.len();
        let stride = n_vocab.next_multiple_of(8);
        let mut sampler = DeviceSampler::new(gpu, n, n, n_vocab, stride);
        for (sequence, of) in samplers.iter().enumerate() {
            sampler.set(gpu, sequence, of);
        }
        let mut rows = rows_of(n, 0);
        rows.push(n as u32);
        rows.extend(0..n as u32);
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST;
        Self {
            sampler,
            // The padding of rows is NaN.
            logits: gpu.buffer_with("logits", &vec![f32::NAN; n * stride], usage),
            rows: gpu.buffer_with("rows", &rows, usage),
            staging: gpu.buffer(
                "staging",
                4 * n as u64,
                BufferUsages::MAP_READ | BufferUsages::COPY_DST,
            ),
            n_vocab,
        }
    }

    /// The tokens drawn from a row of logits of each sequence, after `n_drawn` draws.
    fn draw(
        &self,
        gpu: &Gpu,
        changes: Changes,
        n_drawn: usize,
        logits: &[&[f32]],
    ) -> Result<Vec<u32>> {
        let n = logits.len();
        let rows = rows_of(n, n_drawn);
        gpu.queue
            .write_buffer(&self.rows, 0, bytemuck::cast_slice(&rows));
        let stride = self.n_vocab.next_multiple_of(8);
        for (i, logits) in logits.iter().rev().enumerate() {
            let at = (4 * i * stride) as u64;
            gpu.queue
                .write_buffer(&self.logits, at, bytemuck::cast_slice(logits));
        }
        let inputs = Inputs {
            logits: &self.logits,
            rows: &self.rows,
            list: list_of(n),
        };
        let counts = [n as u32; 3];
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        let n_dispatches = self
            .sampler
            .encode_draw(gpu, changes, inputs, &mut encoder, &counts);
        ensure!(n_dispatches <= 5, "{n_dispatches} dispatches");
        encoder.copy_buffer_to_buffer(&self.sampler.drawn, 0, &self.staging, 0, 4 * n as u64);
        gpu.queue.submit([encoder.finish()]);
        let bytes = pollster::block_on(gpu.read(&self.staging, 4 * n as u64))?;
        let mut drawn: Vec<u32> = bytemuck::pod_collect_to_vec(&bytes);
        drawn.reverse();
        Ok(drawn)
    }
}

/// The rows of so many sequences, the last one first, after so many draws. Positions begin at 9,
/// places in the text after the prompt.
fn rows_of(n: usize, n_drawn: usize) -> Vec<u32> {
    let text_start = (PROMPT.len() as u32).wrapping_sub(10);
    let position = 9 + n_drawn as u32;
    let row = |sequence: usize| [position, 0, sequence as u32, 1, 9, 0, text_start];
    (0..n).rev().flat_map(row).collect()
}

fn sampler(options: &SamplingOptions, adjustments: Option<&Adjustments>) -> Sampler {
    let mut sampler = Sampler::new(options.clone(), &PROMPT);
    if let Some(adjustments) = adjustments {
        sampler.set_bias(Some(Arc::clone(&adjustments.bias)));
        sampler.set_mask(Some(Arc::clone(&adjustments.mask)));
    }
    sampler
}

/// The tokens that the device draws from the rows, as one sequence.
fn on_device(gpu: &Gpu, options: &SamplingOptions, rows: &[Vec<f32>]) -> Result<Vec<u32>> {
    on_device_adjusted(gpu, options, None, rows)
}

fn on_device_adjusted(
    gpu: &Gpu,
    options: &SamplingOptions,
    adjustments: Option<&Adjustments>,
    rows: &[Vec<f32>],
) -> Result<Vec<u32>> {
    let changes = Changes {
        adjusts: adjustments.is_some(),
        penalizes: options.repeat_penalty != 1.0,
    };
    let drawing = Drawing::new(gpu, &[sampler(options, adjustments)], rows[0].len());
    let mut drawn = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        drawn.extend(drawing.draw(gpu, changes, i, &[row])?);
    }
    Ok(drawn)
}

fn on_host(options: &SamplingOptions, rows: &[Vec<f32>]) -> Vec<u32> {
    let mut sampler = sampler(options, None);
    rows.iter().map(|row| sampler.sample(row)).collect()
}

/// Biases and a mask.
struct Adjustments {
    bias: Arc<[f32]>,
    mask: Arc<[u32]>,
}

impl Adjustments {
    /// A third of the tokens is allowed.
    fn new(random: &mut Random, n_vocab: usize) -> Self {
        let bias = random.normals(n_vocab);
        let mut mask = vec![0; n_vocab.div_ceil(32)];
        for token in (0..n_vocab).filter(|_| random.below(3) == 0) {
            mask[token / 32] |= 1 << (token % 32);
        }
        mask[0] |= 2;
        Self {
            bias: bias.into(),
            mask: mask.into(),
        }
    }
}

/// Biases and masks on the device are those of the host, and no token is drawn that is forbidden.
fn adjusted(gpu: &Gpu) -> Result<()> {
    for n_vocab in [17, 1000, 4099] {
        let mut random = Random::new(n_vocab as u64);
        let rows: Vec<_> = (0..40).map(|i| row(&mut random, n_vocab, i)).collect();
        let adjustments = Adjustments::new(&mut random, n_vocab);
        for (name, options) in option_sets(n_vocab) {
            let found = on_device_adjusted(gpu, &options, Some(&adjustments), &rows)?;
            let mut host = sampler(&options, Some(&adjustments));
            let expected: Vec<u32> = rows.iter().map(|row| host.sample(row)).collect();
            same(name, &found, &expected)?;
            let is_allowed = |id: &u32| adjustments.mask[*id as usize / 32] >> (id % 32) & 1 == 1;
            ensure!(found.iter().all(is_allowed), "{name}: a forbidden token");
            let without = on_host(&options, &rows);
            ensure!(found != without, "{name}: adjustments change nothing");
        }
    }
    Ok(())
}

/// Rows of several sequences, each with options of its own, draw what each draws alone.
fn together(gpu: &Gpu) -> Result<()> {
    const N_VOCAB: usize = 1003;
    const N_DRAWS: usize = 20;
    let mut random = Random::new(3);
    let sets = option_sets(N_VOCAB);
    let samplers: Vec<Sampler> = sets.iter().map(|(_, o)| sampler(o, None)).collect();
    let drawing = Drawing::new(gpu, &samplers, N_VOCAB);
    let rows: Vec<Vec<Vec<f32>>> = (0..N_DRAWS)
        .map(|i| sets.iter().map(|_| row(&mut random, N_VOCAB, i)).collect())
        .collect();
    let changes = Changes {
        adjusts: false,
        penalizes: true,
    };
    let mut found = vec![Vec::new(); sets.len()];
    for (i, step) in rows.iter().enumerate() {
        let step: Vec<&[f32]> = step.iter().map(Vec::as_slice).collect();
        let drawn = drawing.draw(gpu, changes, i, &step)?;
        found.iter_mut().zip(drawn).for_each(|(f, id)| f.push(id));
    }
    for (i, (name, options)) in sets.iter().enumerate() {
        let alone: Vec<Vec<f32>> = rows.iter().map(|step| step[i].clone()).collect();
        same(name, &found[i], &on_host(options, &alone))?;
    }
    Ok(())
}

/// Rows of one sequence, drawn from at once after guesses of the tokens between them, draw what they
/// draw one after the other; with a false guess that can be seen after it alone.
fn guessed(gpu: &Gpu) -> Result<()> {
    const N_VOCAB: usize = 1003;
    const N_ROWS: usize = 8;
    let mut random = Random::new(21);
    let mut n_changed = 0;
    for (name, options) in option_sets(N_VOCAB) {
        // Alike, so that a penalty of the latest tokens decides.
        let logits = row(&mut random, N_VOCAB, 1);
        let rows = vec![logits; N_ROWS];
        let expected = on_host(&options, &rows);
        let found = guessed_on_device(gpu, &options, &rows, &expected)?;
        same(name, &found, &expected)?;
        let mut wrong = expected.clone();
        wrong[3] = (wrong[3] + 1) % N_VOCAB as u32;
        let found = guessed_on_device(gpu, &options, &rows, &wrong)?;
        same(name, &found[..4], &expected[..4])?;
        n_changed += n_different(&found, &expected);
    }
    ensure!(n_changed > 0, "a false guess is not seen");
    Ok(())
}

/// The tokens drawn from rows of one sequence, with a guess of each but the last one.
fn guessed_on_device(
    gpu: &Gpu,
    options: &SamplingOptions,
    rows: &[Vec<f32>],
    guesses: &[u32],
) -> Result<Vec<u32>> {
    let (n, n_vocab) = (rows.len(), rows[0].len());
    let stride = n_vocab.next_multiple_of(8);
    let mut device = DeviceSampler::new(gpu, 1, n, n_vocab, stride);
    device.set(gpu, 0, &sampler(options, None));
    for (i, &guess) in guesses[..n - 1].iter().enumerate() {
        device.set_token(gpu, 0, PROMPT.len() + i, guess);
    }
    let of_row = |i: usize| {
        let mut words = rows_of(1, i);
        words.truncate(super::ROW_WORDS);
        words
    };
    let mut words: Vec<u32> = (0..n).flat_map(of_row).collect();
    words.push(n as u32);
    words.extend(0..n as u32);
    let mut padded = vec![f32::NAN; n * stride];
    for (to, row) in padded.chunks_mut(stride).zip(rows) {
        to[..n_vocab].copy_from_slice(row);
    }
    let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST;
    let logits = gpu.buffer_with("logits", &padded, usage);
    let rows = gpu.buffer_with("rows", &words, usage);
    let usage = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
    let staging = gpu.buffer("staging", 4 * n as u64, usage);
    let inputs = Inputs {
        logits: &logits,
        rows: &rows,
        list: list_of(n),
    };
    let changes = Changes {
        adjusts: false,
        penalizes: options.repeat_penalty != 1.0,
    };
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    device.encode_draw(gpu, changes, inputs, &mut encoder, &[n as u32; 3]);
    encoder.copy_buffer_to_buffer(&device.drawn, 0, &staging, 0, 4 * n as u64);
    gpu.queue.submit([encoder.finish()]);
    let bytes = pollster::block_on(gpu.read(&staging, 4 * n as u64))?;
    Ok(bytemuck::pod_collect_to_vec(&bytes))
}

/// 20,000 draws from equal logits: every one is the host's.
fn many_draws(gpu: &Gpu) -> Result<()> {
    const N: usize = 20_000;
    const TOGETHER: usize = 500;
    let mut random = Random::new(11);
    let logits = row(&mut random, 300, 1);
    let options = |i: usize| SamplingOptions {
        temperature: 0.5 + (i % 5) as f64 * 0.3,
        top_k: [0, 40, 256][i % 3],
        top_p: [1.0, 0.9][i % 2],
        min_p: [0.0, 0.02][i % 2],
        seed: i as u64,
        ..SamplingOptions::default()
    };
    let logits = &logits[..256];
    for first in (0..N).step_by(TOGETHER) {
        let samplers: Vec<Sampler> = (first..first + TOGETHER)
            .map(|i| sampler(&options(i), None))
            .collect();
        let drawing = Drawing::new(gpu, &samplers, logits.len());
        let rows = vec![logits; TOGETHER];
        let found = drawing.draw(gpu, Changes::default(), 0, &rows)?;
        let expected = samplers.into_iter().map(|mut s| s.sample(logits));
        same("draws", &found, &expected.collect::<Vec<u32>>())?;
    }
    Ok(())
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
