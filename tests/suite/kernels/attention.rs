//! `attention`, in both of its tilings.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::kernels::KvType;
use ztt_wgpu::kernels::attention::{Params, Tiling, call};

use super::{Expected, KV_TYPES, Listing, POISON, Within};
use super::{buffer, cache_words, elements, padded, run, tolerance, values};
use crate::adapter;
use crate::compare::same;
use crate::random::Random;

/// Heads, KV heads, dimensions of a head. A KV head with more than eight heads needs several
/// tiles, and the last of 18 over 2 are not full.
const SHAPES: &[(usize, usize, usize)] = &[
    (1, 1, 2),
    (3, 3, 8),
    (4, 2, 12),
    (9, 3, 16),
    (9, 1, 20),
    (12, 1, 64),
    (6, 2, 80),
    (4, 2, 128),
    (2, 1, 256),
    (18, 2, 8),
];

/// Positions that hold a key. They come in blocks of 64.
const CONTEXTS: [usize; 6] = [1, 5, 63, 64, 65, 130];

/// All before a row; or so few that whole blocks of a long context are skipped.
const WINDOWS: [u32; 4] = [u32::MAX, 1, 7, 65];

const LISTED: [usize; 4] = [1, 2, 5, 9];

/// The zero token's heads: for each layer one, one a KV head, or one a head. `Value` says that
/// its value is not zeros.
const ZEROS: [Zero; 6] = [
    Zero::None,
    Zero::Key(Pool::One),
    Zero::Value(Pool::One),
    Zero::Value(Pool::KvHeads),
    Zero::Value(Pool::Heads),
    Zero::Key(Pool::Heads),
];

const N_CYCLES: usize = 3;
const CYCLE: usize = 1;
const N_LAYERS: usize = 3;
const LAYER: usize = 1;
const POOL_ROWS: usize = 3;
const POOL_ROW: usize = 1;

/// Of a head's outputs. A score of size s carries rounding errors of 6e-8 s into its weight;
/// outliers make scores of 100 and more, and outputs cancel: up to 8e-6 in all.
const TOLERANCE: f64 = 2.5e-5;

/// Of the zero attention, at most 8 for a tile: up to 7e-7.
const ZERO_TOLERANCE: f64 = 2e-6;

/// WGSL lets `exp` of -x be off by 3 + 2x units in the last place.
const COARSE: f64 = 1e-4;

pub fn trials() -> Vec<Trial> {
    let tiling = |name: &str, many_rows: bool| {
        adapter::trial(format!("kernels::attention::{name}"), move |gpu| {
            for case in cases() {
                Data::new(&case).check(&gpu, many_rows)?;
            }
            Ok(())
        })
    };
    vec![
        tiling("decode_tiling", false),
        tiling("prefill_tiling", true),
        adapter::trial("kernels::attention::tilings_agree", |gpu| {
            for case in cases() {
                let data = Data::new(&case);
                let (decode, prefill) = (data.run(&gpu, false)?, data.run(&gpu, true)?);
                same(&format!("{case:?}"), &decode[0], &prefill[0])?;
                same(
                    &format!("{case:?}, zero attention"),
                    &decode[1],
                    &prefill[1],
                )?;
            }
            Ok(())
        }),
        adapter::trial("kernels::controls::attention", |gpu| control(&gpu)),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Pool {
    One,
    KvHeads,
    Heads,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Zero {
    None,
    Key(Pool),
    Value(Pool),
}

#[derive(Clone, Copy, Debug)]
struct Case {
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
    context: usize,
    /// Positions of the cache.
    n_ctx: usize,
    n_listed: usize,
    kv_type: KvType,
    zero: Zero,
    /// Keys that a row sees.
    window: u32,
    partials: bool,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (i, &(n_heads, n_kv_heads, head_dim)) in SHAPES.iter().enumerate() {
        for (j, context) in CONTEXTS.into_iter().enumerate() {
            for (k, zero) in ZEROS.into_iter().enumerate() {
                // Half of all pairs of context and zero token for a shape.
                if (i + j + k) % 2 == 0 {
                    continue;
                }
                // A software adapter takes long to compile large heads: these take turns.
                let kv_types = match head_dim {
                    0..80 => &KV_TYPES[..],
                    _ => &KV_TYPES[i % 2..][..1],
                };
                cases.extend(kv_types.iter().map(|&kv_type| Case {
                    n_heads,
                    n_kv_heads,
                    head_dim,
                    context,
                    n_ctx: context + 3 * (k % 2),
                    n_listed: LISTED[(i + j + k / 2) % LISTED.len()],
                    kv_type,
                    zero,
                    window: WINDOWS[(i + k / 2) % WINDOWS.len()],
                    partials: (i + k) % 4 != 0,
                }));
            }
        }
    }
    cases
}

/// What a case computes with, and what must come out.
struct Data {
    case: Case,
    listing: Listing,
    params: Params,
    q: Vec<f32>,
    kv: Vec<u32>,
    pool: Vec<f32>,
    out: Vec<u32>,
    partials: Vec<u32>,
    expected: Expected,
    expected_partials: Expected,
    /// The zero attention of a row over all heads.
    totals: Vec<f64>,
}

impl Data {
    fn new(case: &Case) -> Self {
        let Case {
            n_heads,
            n_kv_heads,
            head_dim,
            context,
            n_ctx,
            ..
        } = *case;
        let random = &mut Random::new((n_heads * 1000 + head_dim + n_ctx) as u64);
        let stride = padded(head_dim);
        let group = n_heads / n_kv_heads;
        // Rows have positions of their own, in no order; one is the last that holds a key.
        let mut listing = Listing::new(case.n_listed);
        for (i, &row) in listing.listed.iter().enumerate() {
            listing.positions[row] = (context - 1 - i * 29 % context) as u32;
        }
        let vectors = |n: usize, random: &mut Random| {
            let mut out = Vec::new();
            for _ in 0..n {
                out.extend(values(random, head_dim).iter().map(|v| 0.3 * v));
                out.resize(out.len().next_multiple_of(stride), 0.0);
            }
            out
        };
        let width = n_heads * stride;
        let mut q = vec![f32::NAN; listing.n_rows() * width];
        for &row in &listing.listed {
            q[row * width..][..width].copy_from_slice(&vectors(n_heads, random));
        }
        // The cache holds something in one cycle only.
        let cycle_values = 2 * n_kv_heads * n_ctx * stride;
        let mut kv = vec![f32::NAN; N_CYCLES * cycle_values];
        let cycle = &mut kv[CYCLE * cycle_values..][..cycle_values];
        for head in cycle.chunks_mut(n_ctx * stride) {
            head[..context * stride].copy_from_slice(&vectors(context, random));
        }
        let kv = cache_words(case.kv_type, &kv);
        let held: Vec<f32> = elements(case.kv_type, &kv)
            .into_iter()
            .map(f32::from_bits)
            .collect();
        let held = &held[CYCLE * cycle_values..][..cycle_values];
        let (has_zero, has_value, pool) = match case.zero {
            Zero::None => (false, false, Pool::One),
            Zero::Key(pool) => (true, false, pool),
            Zero::Value(pool) => (true, true, pool),
        };
        let pool_heads = match pool {
            Pool::One => 1,
            Pool::KvHeads => n_kv_heads,
            Pool::Heads => n_heads,
        };
        let pool_width = pool_heads * stride;
        let mut pool = vec![f32::NAN; 2 * POOL_ROWS * pool_width];
        let [zero_key, zero_value] = [POOL_ROW, POOL_ROWS + POOL_ROW].map(|row| row * pool_width);
        pool[zero_key..][..pool_width].copy_from_slice(&vectors(pool_heads, random));
        let values = match has_value {
            true => vectors(pool_heads, random),
            false => vec![0.0; pool_width],
        };
        pool[zero_value..][..pool_width].copy_from_slice(&values);

        let scale = (1.0 / (head_dim as f64).sqrt()) as f32;
        let tiling = Tiling::new(n_heads as u32, n_kv_heads as u32, false);
        let n_parts = tiling.n_parts as usize;
        let tiles = n_parts / n_kv_heads;
        let out_stride = n_heads * head_dim + 5;
        let out = vec![POISON; listing.n_rows() * out_stride];
        let partials = vec![POISON; listing.n_rows() * N_LAYERS * n_parts];
        let mut expected = Expected::new(&out);
        let mut expected_partials = Expected::new(&partials);
        let mut totals = Vec::new();
        for &row in &listing.listed {
            let mut parts = vec![0.0; n_parts];
            let mut total = 0.0;
            for head in 0..n_heads {
                let kv_head = head / group;
                let vector = |part: usize, position: usize| {
                    &held[((part * n_kv_heads + kv_head) * n_ctx + position) * stride..][..head_dim]
                };
                let zero = head * pool_heads / n_heads * stride;
                let zero = (
                    &pool[zero_key + zero..],
                    &pool[zero_value + zero..][..head_dim],
                );
                let end = listing.positions[row] as usize + 1;
                let mut pairs: Vec<_> = (end.saturating_sub(case.window as usize)..end)
                    .map(|position| (vector(0, position), vector(1, position)))
                    .collect();
                if has_zero {
                    pairs.insert(0, zero);
                }
                let q = &q[(row * n_heads + head) * stride..][..head_dim];
                let (values, weights) = attend(q, &pairs, scale.into());
                expected.put(row * out_stride + head * head_dim, values);
                if has_zero {
                    let tile = head % group / tiling.heads_per_tile as usize;
                    parts[kv_head * tiles + tile] += weights[0];
                    total += weights[0];
                }
            }
            expected_partials.put((row * N_LAYERS + LAYER) * n_parts, parts);
            totals.push(total);
        }
        let params = Params {
            n_heads: n_heads as u32,
            n_kv_heads: n_kv_heads as u32,
            head_dim: head_dim as u32,
            head_stride: stride as u32,
            n_ctx: n_ctx as u32,
            heads_per_tile: tiling.heads_per_tile,
            rows_per_tile: tiling.rows_per_tile,
            cycle: CYCLE as u32,
            list: listing.list(),
            out_stride: out_stride as u32,
            scale,
            has_zero: has_zero.into(),
            zero_key: zero_key as u32 / 4,
            zero_value: zero_value as u32 / 4,
            pool_heads: pool_heads as u32,
            window: case.window,
            writes_partials: case.partials.into(),
            layer: LAYER as u32,
            n_layers: N_LAYERS as u32,
        };
        Self {
            case: *case,
            listing,
            params,
            q,
            kv,
            pool,
            out,
            partials,
            expected,
            expected_partials,
            totals,
        }
    }
}

impl Data {
    /// The outputs and the zero attention.
    fn run(&self, gpu: &Gpu, many_rows: bool) -> Result<[Vec<u32>; 2]> {
        let Case {
            n_heads,
            n_kv_heads,
            ..
        } = self.case;
        let tiling = Tiling::new(n_heads as u32, n_kv_heads as u32, many_rows);
        let rows_per_tile = tiling.rows_per_tile;
        let params = Params {
            rows_per_tile,
            ..self.params
        };
        let (q, kv, pool) = (
            buffer(gpu, &self.q),
            buffer(gpu, &self.kv),
            buffer(gpu, &self.pool),
        );
        let (out, partials) = (buffer(gpu, &self.out), buffer(gpu, &self.partials));
        let rows = buffer(gpu, &self.listing.values());
        let buffers = [&q, &kv, &pool, &rows, &out, &partials];
        let call = call(self.case.kv_type, tiling, params, buffers);
        let outputs = run(gpu, call, self.listing.n_listed(), &[&out, &partials])?;
        outputs.try_into().ok().context("two outputs")
    }

    fn check(&self, gpu: &Gpu, many_rows: bool) -> Result<()> {
        let [out, partials] = self.run(gpu, many_rows)?;
        let what = format!("{:?}", self.case);
        let within = Within::Relative(tolerance(gpu, TOLERANCE, COARSE));
        self.expected.check(&what, &out, within)?;
        if !self.case.partials {
            return same(
                &format!("{what}, zero attention"),
                &partials,
                &self.partials,
            );
        }
        let what = format!("{what}, zero attention");
        let allowed = tolerance(gpu, ZERO_TOLERANCE, COARSE);
        self.expected_partials
            .check(&what, &partials, Within::Absolute(allowed))?;
        for (piece, total) in self.expected_partials.pieces.iter().zip(&self.totals) {
            let parts = &partials[piece.at..piece.at + piece.values.len()];
            let sum: f64 = parts.iter().map(|&p| f64::from(f32::from_bits(p))).sum();
            let error = (sum - total).abs();
            ensure!(
                error < allowed * parts.len() as f64,
                "{what}: {sum} in all, not {total}"
            );
        }
        Ok(())
    }
}

/// Softmax of the scores of keys, applied to their values; and the weight of each.
fn attend(q: &[f32], pairs: &[(&[f32], &[f32])], scale: f64) -> (Vec<f64>, Vec<f64>) {
    let dot = |key: &[f32]| -> f64 {
        q.iter()
            .zip(key)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    };
    let scores: Vec<f64> = pairs.iter().map(|(key, _)| scale * dot(key)).collect();
    let largest = scores.iter().copied().fold(f64::MIN, f64::max);
    let weights: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let mut out = vec![0.0; q.len()];
    for (weight, (_, values)) in weights.iter().zip(pairs) {
        for (out, value) in out.iter_mut().zip(*values) {
            *out += weight / sum * f64::from(*value);
        }
    }
    (out, weights.iter().map(|w| w / sum).collect())
}
/// A wrong key, a wrong zero token, or a row too many must be found.
fn control(gpu: &Gpu) -> Result<()> {
    let case = Case {
        n_heads: 9,
        n_kv_heads: 3,
        head_dim: 16,
        context: 65,
        n_ctx: 65,
        n_listed: 5,
        kv_type: KvType::F32,
        zero: Zero::Value(Pool::Heads),
        window: u32::MAX,
        partials: true,
    };
    for many_rows in [false, true] {
        let fails = |plant: fn(&mut Data)| {
            let mut data = Data::new(&case);
            data.check(gpu, many_rows)?;
            plant(&mut data);
            anyhow::Ok(data.check(gpu, many_rows).is_err())
        };
        ensure!(
            fails(|data| {
                // Position 1 of the first KV head's keys.
                let at = CYCLE * 2 * 3 * 65 * 16 + 16;
                data.kv[at] = (f32::from_bits(data.kv[at]) + 0.3).to_bits();
            })?,
            "a wrong key passes"
        );
        ensure!(
            fails(|data| data.pool[data.params.zero_key as usize * 4] += 0.3)?,
            "a wrong zero key passes"
        );
        ensure!(
            fails(|data| {
                data.expected_partials.pieces.pop();
            })?,
            "a row too many passes"
        );
    }
    Ok(())
}
