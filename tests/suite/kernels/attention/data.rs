//! The inputs of a case of attention, and its expected outputs.

use anyhow::{Context, Result, ensure};
use wgpu::{TextureFormat, TextureViewDimension};
use ztt_wgpu::gpu::{Gpu, KernelClass, Resource, Store};
use ztt_wgpu::kernels::Heads;
use ztt_wgpu::kernels::attention::{Attention, Operands, Tile, ZeroToken, calls};

use super::super::image::Image;
use super::super::layout::Layout;
use super::super::{Expected, Listing, POISON, Within};
use super::super::{bits, buffer, padded, run_all, tolerance, values};
use super::{Case, Form, Pool, Zero};
use crate::compare::same;
use crate::random::Random;

/// Error of a head's outputs. A score of size s carries rounding errors of 6e-8 s into its weight;
/// outliers make scores of 100 and more, and outputs cancel: up to 8e-6 in all.
const TOLERANCE: f64 = 2.5e-5;

/// Error of the zero attention of a head: up to 7e-7 was seen.
const ZERO_TOLERANCE: f64 = 2e-6;

/// WGSL lets `exp` of -x be off by 3 + 2x units in the last place, and `tanh` by 1e-5: a score by
/// so much of its cap.
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
    pub listing: Listing,
    pub layout: Layout,
    pub attention: Attention,
    q: Vec<f32>,
    pub kv: Vec<u32>,
    pub pool: Vec<f32>,
    /// Where the zero token's key begins in it.
    pub zero_key: usize,
    out: Vec<u32>,
    zeros: Vec<u32>,
    expected: Expected,
    pub expected_zeros: Expected,
}

/// Places of the cache before the first of two sequences.
const FIRST_START: usize = 3;

impl Data {
    /// Rows are of the second sequence, or of both in turns.
    pub fn new(case: &Case, of_both: bool) -> Self {
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
            let sequence = if of_both { i % 2 } else { 1 };
            listing.cache_starts[row] = (FIRST_START + sequence * n_ctx) as u32;
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
        // The KV cache holds something in one cycle only.
        let layout = Layout {
            n_cycles: N_CYCLES,
            n_kv_heads,
            n_places: FIRST_START + 2 * n_ctx,
            stride,
            kv_type: case.kv_type,
        };
        let mut kv = vec![f32::NAN; layout.element([N_CYCLES, 0, 0, 0])];
        for head in 0..2 * n_kv_heads {
            for sequence in 0..2 {
                let at = layout.element([CYCLE, 0, head, FIRST_START + sequence * n_ctx]);
                kv[at..][..context * stride].copy_from_slice(&vectors(context, random));
            }
        }
        let kv = layout.rounded(&kv);
        let held = layout.elements(&kv).into_iter().map(f32::from_bits);
        let held: Vec<f32> = held.collect();
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
        let out_stride = padded(n_heads * head_dim);
        let out = vec![POISON; listing.n_rows() * out_stride];
        let zeros = vec![POISON; listing.n_rows() * N_LAYERS * n_heads];
        let mut expected = Expected::new(&out);
        let mut expected_zeros = Expected::new(&zeros);
        for &row in &listing.listed {
            let mut zero_weights = vec![0.0; n_heads];
            for head in 0..n_heads {
                let kv_head = head / group;
                let start = listing.cache_starts[row] as usize;
                let vector = |part: usize, position: usize| {
                    let at = layout.element([CYCLE, part, kv_head, start + position]);
                    &held[at..][..head_dim]
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
                let cap = case.soft_cap.map(f64::from);
                let (values, weights) = attend(q, &pairs, scale.into(), cap);
                expected.put(row * out_stride + head * head_dim, values);
                if has_zero {
                    zero_weights[head] = weights[0];
                }
            }
            expected_zeros.put((row * N_LAYERS + LAYER) * n_heads, zero_weights);
        }
        let attention = Attention {
            heads: Heads {
                n_heads: n_heads as u32,
                n_kv_heads: n_kv_heads as u32,
                octets: stride as u32 / 8,
            },
            head_dim: head_dim as u32,
            kv_type: case.kv_type,
            kv_places: 0,
            cycle: CYCLE as u32,
            list: listing.list(),
            scale,
            soft_cap: case.soft_cap,
            zero: has_zero.then_some(ZeroToken {
                key_row: POOL_ROW as u32,
                value_row: (POOL_ROWS + POOL_ROW) as u32,
                n_heads: pool_heads as u32,
            }),
            window: case.window,
            middle_layer: case.zeros.then_some(LAYER as u32),
            n_middle_layers: N_LAYERS as u32,
            n_ctx: n_ctx as u32,
        };
        Self {
            case: *case,
            listing,
            layout,
            attention,
            q,
            kv,
            pool,
            zero_key,
            out,
            zeros,
            expected,
            expected_zeros,
        }
    }

    /// The outputs and the zero attention.
    pub fn run(&self, gpu: &Gpu, form: Form) -> Result<[Vec<u32>; 2]> {
        let (case, layout) = (&self.case, &self.layout);
        let in_textures = form.class() == KernelClass::Software;
        let attention = Attention {
            kv_places: layout.kv_places(in_textures),
            ..self.attention
        };
        let (out, zeros) = (buffer(gpu, &self.out), buffer(gpu, &self.zeros));
        let rows = buffer(gpu, &self.listing.values());
        // Workgroups past the end of the list have nothing to do.
        let n_rows = self.listing.n_listed() + if case.zeros { 9 } else { 0 };
        let outputs = &[&out, &zeros];
        let target = form.target(gpu, attention.heads.octets);
        let float = |words: &[u32], width: usize| -> Store {
            if !in_textures {
                return Store::Buffer(buffer(gpu, words));
            }
            let size = [width / 4, words.len() / width, 1];
            let image = Image::new(gpu, TextureFormat::Rgba32Float, size);
            image.write(gpu, words);
            image.into()
        };
        let scores_width = case.n_ctx.next_multiple_of(8);
        let n_scratch = match in_textures {
            true => self.listing.listed.len() * case.n_heads * scores_width,
            false => {
                let n_rows = self.listing.n_rows() as u64;
                let tile = Tile::of(&target, form.kind(), attention.heads, attention.n_ctx);
                tile.parts_bytes(attention.heads, n_rows) as usize / 4
            }
        };
        let kv_image = layout.image(gpu, &self.kv);
        let kv_view = kv_image.view(TextureViewDimension::D2Array);
        let kv_buffer = buffer(gpu, &self.kv);
        let q = float(&bits(&self.q), case.n_heads * layout.stride);
        let pool = float(&bits(&self.pool), self.pool.len() / (2 * POOL_ROWS));
        let scratch = float(&vec![POISON; n_scratch], scores_width);
        let operands = Operands {
            q: q.resource(),
            kv: match in_textures {
                true => Resource::Texture(&kv_view),
                false => Resource::Buffer(&kv_buffer),
            },
            pool: pool.resource(),
            rows: &rows,
            out: &out,
            zeros: &zeros,
            scratch: scratch.resource(),
        };
        let calls = calls(&target, form.kind(), attention, operands);
        // Where subgroups are too small for a head, lanes do not walk its keys.
        let by_lanes = attention.heads.octets.next_power_of_two() <= target.subgroup[0];
        if by_lanes && form.class() == KernelClass::Subgroup {
            let name = calls[0].0.kernel.name;
            ensure!(
                name == "attention_subgroup",
                "{form:?} is computed by `{name}`"
            );
        }
        let calls = calls.into_iter().map(|(call, _)| call).collect();
        let left = run_all(gpu, calls, n_rows, outputs)?;
        left.try_into().ok().context("two outputs")
    }

    pub fn check(&self, gpu: &Gpu, form: Form) -> Result<()> {
        let [out, zeros] = self.run(gpu, form)?;
        let what = format!("{form:?} {:?}", self.case);
        let within = Within::Relative(tolerance(gpu, TOLERANCE, COARSE));
        self.expected.check(&what, &out, within)?;
        let what = format!("{what}, zero attention");
        if !self.case.zeros {
            return same(&what, &zeros, &self.zeros);
        }
        let within = Within::Absolute(tolerance(gpu, ZERO_TOLERANCE, COARSE));
        self.expected_zeros.check(&what, &zeros, within)
    }
}

/// Softmax of the scores of keys, applied to their values; and the weight of each.
fn attend(
    q: &[f32],
    pairs: &[(&[f32], &[f32])],
    scale: f64,
    soft_cap: Option<f64>,
) -> (Vec<f64>, Vec<f64>) {
    let dot = |key: &[f32]| -> f64 {
        q.iter()
            .zip(key)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    };
    let score = |key: &[f32]| {
        let score = scale * dot(key);
        soft_cap.map_or(score, |cap| cap * (score / cap).tanh())
    };
    let scores: Vec<f64> = pairs.iter().map(|(key, _)| score(key)).collect();
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
