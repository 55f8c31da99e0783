//! What a case of attention computes with, and what must come out.

use anyhow::{Context, Result, ensure};
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::kernels::attention::{Params, Tiling, call};

use super::super::{Expected, Listing, POISON, Within};
use super::super::{buffer, cache_words, elements, padded, run, tolerance, values};
use super::{Case, Pool, Zero};
use crate::compare::same;
use crate::random::Random;

/// Of a head's outputs. A score of size s carries rounding errors of 6e-8 s into its weight;
/// outliers make scores of 100 and more, and outputs cancel: up to 8e-6 in all.
const TOLERANCE: f64 = 2.5e-5;

/// Of the zero attention, at most 8 for a tile: up to 7e-7.
const ZERO_TOLERANCE: f64 = 2e-6;

/// WGSL lets `exp` of -x be off by 3 + 2x units in the last place.
const COARSE: f64 = 1e-4;

const N_CYCLES: usize = 3;
pub const CYCLE: usize = 1;
const N_LAYERS: usize = 3;
const LAYER: usize = 1;
const POOL_ROWS: usize = 3;
const POOL_ROW: usize = 1;

/// Buffers before the call, and what they must hold after it.
pub struct Data {
    case: Case,
    listing: Listing,
    pub params: Params,
    q: Vec<f32>,
    pub kv: Vec<u32>,
    pub pool: Vec<f32>,
    out: Vec<u32>,
    partials: Vec<u32>,
    expected: Expected,
    pub expected_partials: Expected,
    /// The zero attention of a row over all heads.
    totals: Vec<f64>,
}

impl Data {
    pub fn new(case: &Case) -> Self {
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

    /// The outputs and the zero attention.
    pub fn run(&self, gpu: &Gpu, many_rows: bool) -> Result<[Vec<u32>; 2]> {
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
        // Workgroups past the end of the list have nothing to do.
        let n_rows = self.listing.n_listed() + if self.case.partials { 9 } else { 0 };
        let outputs = run(gpu, call, n_rows, &[&out, &partials])?;
        outputs.try_into().ok().context("two outputs")
    }

    pub fn check(&self, gpu: &Gpu, many_rows: bool) -> Result<()> {
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
