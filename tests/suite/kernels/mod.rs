//! Every kernel against a plain double-precision computation of its outputs.
//!
//! A case works on some rows of a batch, never the first nor the last. Inputs that the kernel
//! must not use are NaN, outputs are poisoned, and values that must not be written must be
//! unchanged afterwards.

mod attention;
mod cache;
mod cap_logits;
mod embed;
mod exit;
mod gate_score;
mod image;
mod layout;
mod linear;
mod matrix;
mod norm_add;
mod norms;
mod random_weights;
mod sampling;
mod zero_score;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use wgpu::BufferUsages;
use ztt_wgpu::gpu::plan::{Plan, Rows};
use ztt_wgpu::gpu::{Call, Gpu, KernelClass, Target};
use ztt_wgpu::kernels::KvType;
use ztt_wgpu::model::tensor::Dtype;

use crate::compare::{all_close, same};
use crate::portability::constants::ensure_known;
use crate::random::Random;
use crate::shaders::overrides;
use matrix::{Q4_0, Q8_0};

pub fn trials() -> Vec<Trial> {
    let mut trials = linear::trials();
    trials.extend(norms::trials());
    trials.extend(norm_add::trials());
    trials.extend(embed::trials());
    trials.extend(cache::trials());
    trials.extend(attention::trials());
    trials.extend(exit::trials());
    trials.extend(zero_score::trials());
    trials.extend(gate_score::trials());
    trials.extend(random_weights::trials());
    trials.extend(cap_logits::trials());
    trials.extend(sampling::trials());
    trials
}

/// `gpu` as kernels of `class` see it, with subgroups of `lanes` lanes at most.
fn target(gpu: &Gpu, class: KernelClass, lanes: u32) -> Target {
    Target {
        class,
        subgroup: gpu.target.subgroup.map(|n| n.min(lanes)),
        ..gpu.target.clone()
    }
}

/// A NaN with a payload that no kernel computes.
const POISON: u32 = 0x7fc0_dead;

const DTYPES: [Dtype; 5] = [Dtype::F32, Dtype::F16, Dtype::Bf16, Q8_0, Q4_0];

const KV_TYPES: [KvType; 3] = [KvType::F32, KvType::F16, KvType::Q8_0];

/// Between 0.01 and 1 in size, so that no format has subnormal numbers; one in 40 is 50 to 100
/// times larger.
fn value(random: &mut Random) -> f32 {
    let size = 0.01 + 0.99 * random.unit();
    let sign = if random.below(2) == 0 { 1.0 } else { -1.0 };
    let outlier = if random.below(40) == 0 {
        50.0 + 50.0 * random.unit()
    } else {
        1.0
    };
    (sign * size * outlier) as f32
}

fn values(random: &mut Random, n: usize) -> Vec<f32> {
    (0..n).map(|_| value(random)).collect()
}

/// A batch of rows, the listed ones among them, and where every row belongs.
struct Listing {
    listed: Vec<usize>,
    positions: Vec<u32>,
    /// Where the row's sequence begins in the cache.
    cache_starts: Vec<u32>,
    /// Which sequence it is, the fewest and the most cycles of the row, the bits of its threshold,
    /// and the tokens of the text before the sequence.
    rules: Vec<[u32; 5]>,
}

/// Words of a row; see `shaders/shared/rows.wgsl`.
const ROW_WORDS: usize = 7;

impl Listing {
    /// Lists rows 1, 2, 4, 5, 7 ...; other rows lie before, between and after them.
    fn new(n_listed: usize) -> Self {
        let listed: Vec<usize> = (0..n_listed).map(|i| 1 + i + i / 2).collect();
        let n_rows = listed.last().map_or(2, |row| row + 2);
        Self {
            listed,
            positions: (0..n_rows as u32).collect(),
            cache_starts: vec![0; n_rows],
            rules: vec![[0, 1, u32::MAX, f32::MAX.to_bits(), 0]; n_rows],
        }
    }

    fn n_rows(&self) -> usize {
        self.positions.len()
    }

    fn n_listed(&self) -> u32 {
        self.listed.len() as u32
    }

    /// The place of a row in the cache.
    fn place(&self, row: usize) -> usize {
        (self.cache_starts[row] + self.positions[row]) as usize
    }

    /// Where the list lies. Before it lies another one, of all rows.
    fn list(&self) -> u32 {
        ((ROW_WORDS + 1) * self.n_rows()) as u32 + 1
    }

    /// The `rows` buffer. Row 0, which is not listed, follows the list.
    fn values(&self) -> Vec<u32> {
        let words = |row| {
            let places = [self.positions[row], self.cache_starts[row]];
            places.into_iter().chain(self.rules[row])
        };
        let mut values: Vec<u32> = (0..self.n_rows()).flat_map(words).collect();
        values.push(self.n_rows() as u32);
        values.extend(0..self.n_rows() as u32);
        values.push(self.n_listed());
        values.extend(self.listed.iter().map(|&row| row as u32));
        values.extend([0; 16]);
        values
    }

    /// [row][stride], of which the first `n` values of listed rows are made by `value`.
    /// The others of these rows are `padding`, and all of the rows not listed are NaN.
    fn rows(&self, stride: usize, n: usize, padding: f32, random: &mut Random) -> Vec<f32> {
        let mut rows = vec![f32::NAN; self.n_rows() * stride];
        for &row in &self.listed {
            let row = &mut rows[row * stride..(row + 1) * stride];
            row.fill(padding);
            row[..n].copy_from_slice(&values(random, n));
        }
        rows
    }
}

/// How values are compared.
#[derive(Clone, Copy)]
enum Within {
    /// ‖out - expected‖ / size of each piece.
    Relative(f64),
    /// Largest difference.
    Absolute(f64),
    /// The expected values rounded to f32, bit by bit.
    Exact,
}

/// Neighbouring values that a kernel must write.
struct Piece {
    at: usize,
    values: Vec<f64>,
    /// The size that errors are relative to.
    size: f64,
}

/// The expected contents of a buffer after a kernel: pieces of values, elsewhere those before it.
struct Expected {
    before: Vec<u32>,
    pieces: Vec<Piece>,
}

impl Expected {
    fn new(before: &[u32]) -> Self {
        Self {
            before: before.to_vec(),
            pieces: Vec::new(),
        }
    }

    /// Errors are relative to the norm of the values.
    fn put(&mut self, at: usize, values: Vec<f64>) {
        let size = norm(&values);
        self.pieces.push(Piece { at, values, size });
    }

    /// Checks the pieces, and that all the rest is as before.
    fn check(&self, what: &str, after: &[u32], within: Within) -> Result<()> {
        ensure!(!self.pieces.is_empty(), "{what}: nothing to compare");
        let mut rest = after.to_vec();
        for Piece { at, values, size } in &self.pieces {
            let place = *at..at + values.len();
            let what = format!("{what} at {at}");
            let out: Vec<f32> = after[place.clone()]
                .iter()
                .map(|&b| f32::from_bits(b))
                .collect();
            let rounded: Vec<f32> = values.iter().map(|&v| v as f32).collect();
            match within {
                Within::Relative(allowed) => {
                    let pairs = out.iter().zip(values);
                    let errors: Vec<f64> = pairs.map(|(a, b)| f64::from(*a) - b).collect();
                    let relative = norm(&errors) / size;
                    // Written so that a NaN fails.
                    ensure!(
                        relative < allowed,
                        "{what}: error {relative:.2e}, allowed {allowed:.0e}"
                    );
                }
                Within::Absolute(allowed) => all_close(&what, &out, &rounded, allowed)?,
                Within::Exact => same(&what, &bits(&out), &bits(&rounded))?,
            }
            rest[place.clone()].copy_from_slice(&self.before[place]);
        }
        same(&format!("{what}, the rest"), &rest, &self.before)
    }
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn buffer<T: bytemuck::NoUninit>(gpu: &Gpu, data: &[T]) -> wgpu::Buffer {
    gpu.buffer_with("data", data, BufferUsages::STORAGE | BufferUsages::COPY_SRC)
}

/// Dispatches `call` for `n_rows` listed rows, and returns the words of `outputs` after it.
fn run(gpu: &Gpu, call: Call, n_rows: u32, outputs: &[&wgpu::Buffer]) -> Result<Vec<Vec<u32>>> {
    run_all(gpu, vec![call], n_rows, outputs)
}

/// Dispatches `calls` for `n_rows` listed rows, one after the other, and returns the words of
/// `outputs` after them.
fn run_all(
    gpu: &Gpu,
    calls: Vec<Call>,
    n_rows: u32,
    outputs: &[&wgpu::Buffer],
) -> Result<Vec<Vec<u32>>> {
    for call in &calls {
        let mut constants: Vec<&str> = call.constants.iter().map(|c| c.0).collect();
        constants.sort_unstable();
        let known = overrides(call.kernel);
        ensure!(
            known == constants,
            "{constants:?} set, the shader has {known:?}"
        );
        for &(name, value) in &call.constants {
            ensure_known(name, value)?;
        }
    }
    let n_calls = calls.len();
    let indirect = gpu.buffer("indirect", 12, BufferUsages::INDIRECT);
    let calls: Vec<_> = calls.into_iter().map(|c| (c, Rows::Counted(0))).collect();
    let plan = Plan::new(gpu, &calls, &indirect);
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    let n_dispatches = plan.encode(&mut encoder, &[n_rows]);
    ensure!(n_dispatches == n_calls, "{n_dispatches} dispatches");
    let staging: Vec<wgpu::Buffer> = outputs
        .iter()
        .map(|output| {
            let usage = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
            let staging = gpu.buffer("staging", output.size(), usage);
            encoder.copy_buffer_to_buffer(output, 0, &staging, 0, output.size());
            staging
        })
        .collect();
    gpu.queue.submit([encoder.finish()]);
    let read = |b: &wgpu::Buffer| {
        let bytes = pollster::block_on(gpu.read(b, b.size()))?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    };
    staging.iter().map(read).collect()
}

/// Length of a row in memory: whole octets.
fn padded(n: usize) -> usize {
    n.next_multiple_of(8)
}

/// Two to a word, the first in the low half.
fn pack(halves: &[u16]) -> Vec<u32> {
    let word = |pair: &[u16]| u32::from(pair[0]) | u32::from(*pair.get(1).unwrap_or(&0)) << 16;
    halves.chunks(2).map(word).collect()
}

/// The tolerance for results of `exp` and `tanh`, which hardware computes more coarsely.
fn tolerance(gpu: &Gpu, software: f64, hardware: f64) -> f64 {
    match gpu.info.device_type {
        wgpu::DeviceType::Cpu => software,
        _ => hardware,
    }
}
