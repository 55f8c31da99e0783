//! Kernels that write queries and the KV cache: linear maps with that output, `qkv_store`, `kv_copy`.

mod copy;
mod reference;
mod rows;
mod store;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use ztt_wgpu::gpu::{Gpu, KernelClass};
use ztt_wgpu::kernels::{BatchKind, KvType};
use ztt_wgpu::model::block::{QkNorm, QkSpan};
use ztt_wgpu::model::tensor::Dtype;

use super::layout::Layout;
use super::{DTYPES, KV_TYPES, Listing, padded};
use crate::adapter;
use crate::thorough;
use copy::copy;
use store::Store;

/// Heads, KV heads, dimensions of a head, and listed rows.
const SHAPES: &[(usize, usize, usize, usize)] = &[
    (1, 1, 2, 1),
    (3, 3, 8, 2),
    (4, 2, 12, 5),
    (9, 3, 16, 9),
    (9, 1, 20, 2),
    (4, 2, 32, 5),
    (4, 2, 40, 2),
    (6, 2, 64, 5),
    (2, 1, 80, 9),
    (4, 2, 96, 2),
    (12, 1, 128, 1),
    (3, 3, 256, 2),
    // An odd head is possible without rotary embedding.
    (3, 1, 5, 2),
];

const N_PLACES: usize = 130;
const N_CYCLES: usize = 4;

/// Inputs of the projections: no whole octets, or, quantised, three blocks.
fn n_in(dtype: Dtype) -> usize {
    match dtype {
        Dtype::Quantized(_) => 96,
        _ => 21,
    }
}

const EPS: f32 = 1e-5;

/// A turned dimension is two products and a sum of sums: some roundings of 6e-8.
const TOLERANCE: f64 = 1e-6;

/// Rounding to f16 is off by half a unit in the last place, 2^-11, or by a whole one where a
/// driver rounds towards zero.
const F16_TOLERANCE: f64 = 1e-3;

/// The kernel that computes queries, keys and values.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Source {
    /// `qkv_store`, of rows that are projected already and whose queries and keys are normed.
    Stored(Option<QkNorm>),
    Projected(BatchKind),
    /// The projection of one row, with lanes that exchange sums within subgroups.
    Subgroups,
}

impl Source {
    fn kind(self) -> Option<BatchKind> {
        match self {
            Source::Stored(_) => None,
            Source::Projected(batch) => Some(batch),
            Source::Subgroups => Some(BatchKind::OneRow),
        }
    }
}

const fn norm(span: QkSpan, after_rope: bool) -> Option<QkNorm> {
    Some(QkNorm { span, after_rope })
}

/// Norms of stored rows, and names of their tests.
const NORMS: [(&str, Option<QkNorm>); 5] = [
    ("", norm(QkSpan::Head, false)),
    ("::after_rope", norm(QkSpan::Head, true)),
    ("::width", norm(QkSpan::Width, false)),
    ("::width_after_rope", norm(QkSpan::Width, true)),
    ("::without_norm", None),
];

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    let (one, many) = (
        Source::Projected(BatchKind::OneRow),
        Source::Projected(BatchKind::OneSequence),
    );
    let maps = [
        ("matvec", one, false),
        ("matvec_subgroup", Source::Subgroups, false),
        ("matvec_texture", one, true),
        ("matmul", many, false),
        ("matmul_texture", many, true),
    ];
    let maps =
        maps.map(|(kernel, source, in_texture)| (format!("{kernel}::qkv"), source, in_texture));
    let [stored, in_textures] =
        [("qkv_store", false), ("qkv_store_texture", true)].map(|(kernel, in_texture)| {
            NORMS.map(|(name, norm)| (format!("{kernel}{name}"), Source::Stored(norm), in_texture))
        });
    for (name, source, in_texture) in maps.into_iter().chain(stored).chain(in_textures) {
        let class = Some(class_of(source, in_texture));
        let trial_name = format!("kernels::{name}");
        trials.push(adapter::trial_of(class, trial_name, move |gpu| {
            // Formats of weights change from case to case: every shape, cache type and flag meets
            // each of them.
            let mut dtypes = DTYPES.iter().copied().cycle();
            let mut cases = Vec::new();
            for &shape in SHAPES {
                for &kv_type in kv_types(source) {
                    let of_shape = (0..4).zip(&mut dtypes);
                    cases.extend(of_shape.map(|(flags, dtype)| (shape, kv_type, flags, dtype)));
                }
            }
            for (shape, kv_type, flags, dtype) in thorough::sample(cases) {
                let (rope, queries) = (flags & 1 != 0, flags & 2 != 0);
                let rope = rope && shape.2 % 2 == 0;
                Store::new(shape, dtype, kv_type, rope, queries, source, in_texture).check(&gpu)?;
            }
            Ok(())
        }));
        let trial_name = format!("kernels::controls::{name}");
        trials.push(adapter::trial_of(class, trial_name, move |gpu| {
            control(&gpu, source, in_texture)
        }));
    }
    for (name, in_texture) in [("kv_copy", false), ("kv_copy_texture", true)] {
        trials.push(adapter::trial(format!("kernels::{name}"), move |gpu| {
            for &(_, n_kv_heads, head_dim, n_listed) in SHAPES {
                for kv_type in KV_TYPES {
                    copy(&gpu, n_kv_heads, head_dim, n_listed, kv_type, in_texture, 0)?;
                }
            }
            for kv_type in KV_TYPES {
                let wrong = copy(&gpu, 3, 16, 5, kv_type, in_texture, 1);
                ensure!(wrong.is_err(), "{kv_type:?}: a wrong word passes");
            }
            Ok(())
        }));
    }
    trials
}

/// The types of a cache that a kernel writes.
fn kv_types(source: Source) -> &'static [KvType] {
    match source {
        Source::Stored(_) => &[KvType::F32, KvType::F16, KvType::Q8_0],
        _ => &[KvType::F32, KvType::F16],
    }
}

fn class_of(source: Source, in_texture: bool) -> KernelClass {
    match source {
        Source::Subgroups => KernelClass::Subgroup,
        _ if in_texture => KernelClass::Software,
        _ => KernelClass::Workgroup,
    }
}

fn control(gpu: &Gpu, source: Source, in_texture: bool) -> Result<()> {
    for (i, dtype) in DTYPES.into_iter().enumerate() {
        let kv_type = kv_types(source)[i % kv_types(source).len()];
        let shape = (9, 3, 16, 5);
        let mut store = Store::new(shape, dtype, kv_type, true, true, source, in_texture);
        store.check(gpu)?;
        // The last listed row, turned by the angles of another position.
        let row = *store.listing.listed.last().unwrap_or(&0);
        store.listing.positions[row] -= 1;
        let wrong = store.check(gpu).is_err();
        ensure!(wrong, "{dtype:?}, {kv_type:?}: a wrong position passes");
        store.listing.positions[row] += 1;
        store.rows[row * store.row_width] += 0.5;
        let wrong = store.check(gpu).is_err();
        ensure!(wrong, "{dtype:?}, {kv_type:?}: a wrong value passes");
    }
    Ok(())
}

/// Scattered places, all different: the last of the cache among those listed. Rows are of several
/// sequences.
fn scattered(n_listed: usize) -> Listing {
    let mut listing = Listing::new(n_listed);
    for row in 0..listing.n_rows() {
        let place = ((row * 37 + 92) % N_PLACES) as u32;
        let cache_start = place / (row as u32 % 3 + 1);
        listing.positions[row] = place - cache_start;
        listing.cache_starts[row] = cache_start;
    }
    listing
}

fn layout(n_kv_heads: usize, head_dim: usize, kv_type: KvType) -> Layout {
    Layout {
        n_cycles: N_CYCLES,
        n_kv_heads,
        n_places: N_PLACES,
        stride: padded(head_dim),
        kv_type,
    }
}

/// Outputs `first .. first + n` of a row, before norms and rotation.
fn projected(
    source: Source,
    row: &[f32],
    weights: &[f32],
    bias: &[f32],
    first: usize,
    n: usize,
) -> Vec<f64> {
    let output = |i: usize| match source {
        Source::Stored(_) => f64::from(row[i]),
        _ => {
            let n_in = weights.len() / bias.len();
            let products = weights[i * n_in..][..n_in].iter().zip(row);
            let products = products.map(|(w, x)| f64::from(*w) * f64::from(*x));
            products.sum::<f64>() + f64::from(bias[i])
        }
    };
    (first..first + n).map(output).collect()
}
