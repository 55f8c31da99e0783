//! `qkv_store` and `kv_copy`: what writes the cache.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::kernels::{KvType, kv_copy, qkv_store};

use super::{Expected, KV_TYPES, Listing, POISON, Within};
use super::{bits, buffer, elements, padded, run, values};
use crate::adapter;
use crate::compare::same;
use crate::random::Random;

/// Heads, KV heads, dimensions of a head, and listed rows.
const SHAPES: &[(usize, usize, usize, usize)] = &[
    (1, 1, 2, 1),
    (3, 3, 8, 2),
    (4, 2, 12, 5),
    (9, 3, 16, 9),
    (9, 1, 20, 2),
    (6, 2, 64, 5),
    (2, 1, 80, 9),
    (12, 1, 128, 1),
    (3, 3, 256, 2),
];

const N_CTX: usize = 130;
const N_CYCLES: usize = 4;

/// A turned dimension is two products and a sum: roundings of 6e-8, up to 7e-8 of a row.
const TOLERANCE: f64 = 3e-7;

/// Rounding to f16 is off by half a unit in the last place, 2^-11, or by a whole one where a
/// driver rounds towards zero.
const F16_TOLERANCE: f64 = 1e-3;

pub fn trials() -> Vec<Trial> {
    vec![
        adapter::trial("kernels::qkv_store", |gpu| {
            for &shape in SHAPES {
                for kv_type in KV_TYPES {
                    for flags in 0..4 {
                        let (rope, queries) = (flags & 1 != 0, flags & 2 != 0);
                        Store::new(shape, kv_type, rope, queries).check(&gpu)?;
                    }
                }
            }
            // An odd head is possible without rotary embedding.
            Store::new((3, 1, 5, 2), KvType::F32, false, true).check(&gpu)?;
            Store::new((3, 1, 5, 2), KvType::F16, false, true).check(&gpu)
        }),
        adapter::trial("kernels::kv_copy", |gpu| {
            for &(_, n_kv_heads, head_dim, n_listed) in SHAPES {
                for kv_type in KV_TYPES {
                    copy(&gpu, n_kv_heads, head_dim, n_listed, kv_type, 0)?;
                }
            }
            Ok(())
        }),
        adapter::trial("kernels::controls::qkv_store", |gpu| {
            for kv_type in KV_TYPES {
                let mut store = Store::new((9, 3, 16, 5), kv_type, true, true);
                store.check(&gpu)?;
                // The key of the last listed row, turned by the angles of another position.
                let row = store.listing.listed[4];
                store.listing.positions[row] -= 1;
                ensure!(
                    store.check(&gpu).is_err(),
                    "{kv_type:?}: a wrong position passes"
                );
                store.listing.positions[row] += 1;
                let at = row * store.params.qkv_stride as usize + 9 * 16;
                store.qkv[at] += 0.5;
                ensure!(
                    store.check(&gpu).is_err(),
                    "{kv_type:?}: a wrong key passes"
                );
            }
            Ok(())
        }),
        adapter::trial("kernels::controls::kv_copy", |gpu| {
            copy(&gpu, 3, 16, 5, KvType::F16, 0)?;
            let wrong = copy(&gpu, 3, 16, 5, KvType::F16, 1);
            ensure!(wrong.is_err(), "a wrong word passes");
            Ok(())
        }),
    ]
}

/// Scattered positions, all different: the last of the cache among those listed.
fn scattered(n_listed: usize) -> Listing {
    let mut listing = Listing::new(n_listed);
    for (row, position) in listing.positions.iter_mut().enumerate() {
        *position = ((row * 37 + 92) % N_CTX) as u32;
    }
    listing
}

/// Index of the first element of a head's row, as `shared/kv_cache.wgsl` has it.
fn kv_row(n_kv_heads: usize, stride: usize, at: [usize; 4]) -> usize {
    let [cycle, part, head, position] = at;
    (((cycle * 2 + part) * n_kv_heads + head) * N_CTX + position) * stride
}

struct Store {
    kv_type: KvType,
    listing: Listing,
    params: qkv_store::Params,
    qkv: Vec<f32>,
    angles: Vec<f32>,
    q: Vec<u32>,
    kv: Vec<u32>,
    expected_q: Expected,
    /// In elements.
    expected_kv: Expected,
}

impl Store {
    fn new(
        (n_heads, n_kv_heads, head_dim, n_listed): (usize, usize, usize, usize),
        kv_type: KvType,
        rope: bool,
        with_queries: bool,
    ) -> Self {
        let random = &mut Random::new((n_heads * head_dim) as u64);
        let listing = scattered(n_listed);
        let stride = padded(head_dim);
        let n_values = (n_heads + 2 * n_kv_heads) * head_dim;
        let qkv_stride = padded(n_values);
        let mut qkv = listing.rows(qkv_stride, n_values, f32::NAN, random);
        if kv_type == KvType::F16 {
            // More than f16 can hold: becomes the largest that it can.
            qkv[listing.listed[0] * qkv_stride + n_values - 1] = -1e6;
        }
        let n_pairs = if rope { head_dim / 2 } else { 0 };
        let angles: Vec<f32> = (0..N_CTX * n_pairs)
            .flat_map(|_| {
                let (sin, cos) = (std::f64::consts::TAU * random.unit()).sin_cos();
                [cos as f32, sin as f32]
            })
            .collect();
        let (first_cycle, n_cycles) = if with_queries { (2, 1) } else { (1, 3) };
        let q = vec![POISON; listing.n_rows() * n_heads * stride];
        let n_elements = N_CYCLES * 2 * n_kv_heads * N_CTX * stride;
        let kv = vec![POISON; n_elements * kv_type.n_bytes() / 4];
        let mut expected_q = Expected::new(&q);
        let mut expected_kv = Expected::new(&elements(kv_type, &kv));
        for &row in &listing.listed {
            let position = listing.positions[row] as usize;
            let head = |i: usize, turned: bool| {
                let v = &qkv[row * qkv_stride + i * head_dim..][..head_dim];
                let v: Vec<f64> = v.iter().map(|&v| v.into()).collect();
                let mut out = v.clone();
                for pair in 0..if turned { n_pairs } else { 0 } {
                    let angle = &angles[2 * (position * n_pairs + pair)..];
                    let (cos, sin) = (f64::from(angle[0]), f64::from(angle[1]));
                    out[pair] = v[pair] * cos - v[pair + n_pairs] * sin;
                    out[pair + n_pairs] = v[pair + n_pairs] * cos + v[pair] * sin;
                }
                out.resize(stride, 0.0);
                out
            };
            for i in 0..if with_queries { n_heads } else { 0 } {
                expected_q.put((row * n_heads + i) * stride, head(i, true));
            }
            for cycle in first_cycle..first_cycle + n_cycles {
                for part in 0..2 {
                    for i in 0..n_kv_heads {
                        let mut values = head(n_heads + part * n_kv_heads + i, part == 0);
                        if kv_type == KvType::F16 {
                            values
                                .iter_mut()
                                .for_each(|v| *v = v.clamp(-65504.0, 65504.0));
                        }
                        let at = kv_row(n_kv_heads, stride, [cycle, part, i, position]);
                        expected_kv.put(at, values);
                    }
                }
            }
        }
        let params = qkv_store::Params {
            n_heads: n_heads as u32,
            n_kv_heads: n_kv_heads as u32,
            head_dim: head_dim as u32,
            head_stride: stride as u32,
            qkv_stride: qkv_stride as u32,
            n_ctx: N_CTX as u32,
            n_pairs: n_pairs as u32,
            list: listing.list(),
            first_cycle: first_cycle as u32,
            n_cycles: n_cycles as u32,
            with_queries: with_queries.into(),
        };
        Self {
            kv_type,
            listing,
            params,
            qkv,
            angles,
            q,
            kv,
            expected_q,
            expected_kv,
        }
    }

    fn check(&self, gpu: &Gpu) -> Result<()> {
        let (qkv, angles) = (buffer(gpu, &self.qkv), buffer(gpu, &self.angles));
        let (q, kv) = (buffer(gpu, &self.q), buffer(gpu, &self.kv));
        let rows = buffer(gpu, &self.listing.values());
        let call = qkv_store::call(self.kv_type, self.params, [&qkv, &angles, &rows, &q, &kv]);
        let out = run(gpu, call, self.listing.n_listed() + 3, &[&q, &kv])?;
        let what = format!("{:?} {:?}", self.kv_type, self.params);
        let within = Within::Relative(TOLERANCE);
        match self.params.with_queries {
            1 => self
                .expected_q
                .check(&format!("queries, {what}"), &out[0], within)?,
            _ => same(&format!("queries, {what}"), &out[0], &self.q)?,
        }
        let within = match self.kv_type {
            KvType::F32 => within,
            KvType::F16 => Within::Relative(F16_TOLERANCE),
        };
        let kv = elements(self.kv_type, &out[1]);
        self.expected_kv
            .check(&format!("cache, {what}"), &kv, within)
    }
}

/// Copies cycle 1 to the two after it; `planted` is added to a word of what is copied.
fn copy(
    gpu: &Gpu,
    n_kv_heads: usize,
    head_dim: usize,
    n_listed: usize,
    kv_type: KvType,
    planted: u32,
) -> Result<()> {
    let (cycle, n_copies) = (1, 2);
    let random = &mut Random::new(head_dim as u64);
    let listing = scattered(n_listed);
    let stride = padded(head_dim);
    let per_word = 4 / kv_type.n_bytes();
    let n_words = N_CYCLES * 2 * n_kv_heads * N_CTX * stride / per_word;
    let mut kv = bits(&values(random, n_words));
    let mut expected = kv.clone();
    let word = |at: [usize; 4]| kv_row(n_kv_heads, stride, at) / per_word;
    for &row in &listing.listed {
        let position = listing.positions[row] as usize;
        for part in 0..2 {
            for head in 0..n_kv_heads {
                let from = word([cycle, part, head, position]);
                for i in 1..=n_copies {
                    let to = word([cycle + i, part, head, position]);
                    expected.copy_within(from..from + stride / per_word, to);
                }
            }
        }
    }
    let position = listing.positions[listing.listed[0]] as usize;
    kv[word([cycle, 1, 0, position])] += planted;
    let params = kv_copy::Params {
        n_kv_heads: n_kv_heads as u32,
        n_ctx: N_CTX as u32,
        head_stride: stride as u32,
        list: listing.list(),
        cycle: cycle as u32,
        n_copies: n_copies as u32,
    };
    let (rows, kv) = (buffer(gpu, &listing.values()), buffer(gpu, &kv));
    let call = kv_copy::call(kv_type, params, [&rows, &kv]);
    let out = run(gpu, call, listing.n_listed() + 3, &[&kv])?;
    same(&format!("{kv_type:?} {params:?}"), &out[0], &expected)
}
