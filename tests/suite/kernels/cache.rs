//! The kernels that write the KV cache: `qkv_store`, the linear maps of queries, keys and values,
//! `kv_copy`.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use wgpu::{BufferUsages, TextureFormat, TextureViewDimension};
use ztt_wgpu::gpu::{Call, Gpu, KernelClass, Resource, Target, UNIFORM_BYTES};
use ztt_wgpu::kernels::linear::{self, InputNorm, Operands, Output, Params, Qkv};
use ztt_wgpu::kernels::pack_rows::PACKED_TILE;
use ztt_wgpu::kernels::{BatchKind, KvType, kv_copy, pack_rows, qkv_store};

use super::image::Image;
use super::layout::Layout;
use super::matrix::{stored, weights_texture};
use super::{DTYPES, Expected, KV_TYPES, Listing, POISON, Within};
use super::{bits, buffer, elements, padded, run_all, target, values};
use crate::adapter;
use crate::compare::same;
use crate::random::Random;
use crate::thorough;
use ztt_wgpu::model::tensor::Dtype;

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
    /// `qkv_store`, of rows that are projected already and whose heads are normed.
    Stored,
    Projected(BatchKind),
    /// The projection of one row, with lanes that exchange sums within subgroups.
    Subgroups,
}

impl Source {
    fn kind(self) -> Option<BatchKind> {
        match self {
            Source::Stored => None,
            Source::Projected(batch) => Some(batch),
            Source::Subgroups => Some(BatchKind::OneRow),
        }
    }
}

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    let (one, many) = (
        Source::Projected(BatchKind::OneRow),
        Source::Projected(BatchKind::OneSequence),
    );
    for (name, source, in_texture) in [
        ("qkv_store", Source::Stored, false),
        ("qkv_store_texture", Source::Stored, true),
        ("qkv_matvec", one, false),
        ("qkv_matvec_subgroup", Source::Subgroups, false),
        ("qkv_matvec_texture", one, true),
        ("qkv_matmul", many, false),
        ("qkv_matmul_texture", many, true),
    ] {
        let class = Some(class_of(source, in_texture));
        let trial_name = format!("kernels::{name}");
        trials.push(adapter::trial_of(class, trial_name, move |gpu| {
            // Formats of weights change from case to case: every shape, cache type and flag meets
            // each of them.
            let mut dtypes = DTYPES.iter().copied().cycle();
            let mut cases = Vec::new();
            for &shape in SHAPES {
                for kv_type in KV_TYPES {
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
            let wrong = copy(&gpu, 3, 16, 5, KvType::F16, in_texture, 1);
            ensure!(wrong.is_err(), "a wrong word passes");
            Ok(())
        }));
    }
    trials
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
        let kv_type = KV_TYPES[i % KV_TYPES.len()];
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

struct Store {
    source: Source,
    in_texture: bool,
    layout: Layout,
    listing: Listing,
    params: Params,
    /// Input rows of the kernel, and the width of one: projected rows, or the inputs of the
    /// projection.
    rows: Vec<f32>,
    row_width: usize,
    dtype: Dtype,
    /// `[output][n_in]` as the kernel reads them, and their bias: of the projection.
    weights: Vec<u32>,
    bias: Vec<f32>,
    /// `[query, key][stride]`: of the norms.
    norm: Vec<f32>,
    angles: Vec<f32>,
    q: Vec<u32>,
    kv: Vec<u32>,
    expected_q: Expected,
    /// The expected KV cache, in elements.
    expected_kv: Expected,
}

impl Store {
    fn new(
        (n_heads, n_kv_heads, head_dim, n_listed): (usize, usize, usize, usize),
        dtype: Dtype,
        kv_type: KvType,
        rope: bool,
        with_queries: bool,
        source: Source,
        in_texture: bool,
    ) -> Self {
        let random = &mut Random::new((n_heads * head_dim) as u64);
        // One row in a uniform buffer is alone.
        let alone = in_texture && source == Source::Projected(BatchKind::OneRow);
        let listing = scattered(if alone { 1 } else { n_listed });
        let layout = layout(n_kv_heads, head_dim, kv_type);
        let stride = layout.stride;
        let n_out = (n_heads + 2 * n_kv_heads) * stride;
        // Values of heads, the padding zero.
        let heads = |n: usize, random: &mut Random| {
            let mut out = Vec::new();
            for _ in 0..n {
                out.extend(values(random, head_dim));
                out.resize(out.len().next_multiple_of(stride), 0.0);
            }
            out
        };
        let n_in = n_in(dtype);
        let mut weights = vec![0.0; n_out * n_in];
        for (output, row) in weights.chunks_mut(n_in).enumerate() {
            if output % stride < head_dim {
                row.copy_from_slice(&values(random, n_in));
            }
        }
        let matrix = stored(dtype, &weights, n_in);
        let bias = heads(n_out / stride, random);
        let norm = heads(2, random);
        let row_width = match source {
            Source::Stored => n_out,
            _ => padded(n_in),
        };
        let mut rows = vec![f32::NAN; listing.n_rows() * row_width];
        for &row in &listing.listed {
            let row = &mut rows[row * row_width..][..row_width];
            match source {
                Source::Stored => row.copy_from_slice(&heads(n_out / stride, random)),
                _ => {
                    row.fill(7.0);
                    row[..n_in].copy_from_slice(&values(random, n_in));
                }
            }
        }
        if source == Source::Stored && kv_type == KvType::F16 {
            // More than f16 can hold: becomes the largest that it can.
            let value = listing.listed[0] * row_width + n_out - stride;
            rows[value] = -1e6;
        }
        let n_pairs = stride / 2;
        let angles: Vec<f32> = (0..N_PLACES * n_pairs)
            .flat_map(|_| {
                let (sin, cos) = (std::f64::consts::TAU * random.unit()).sin_cos();
                [cos as f32, sin as f32]
            })
            .collect();
        let (first_cycle, n_cycles) = if with_queries { (2, 1) } else { (1, 3) };
        let q = vec![POISON; listing.n_rows() * n_heads * stride];
        let kv = vec![POISON; layout.n_words()];
        let mut expected_q = Expected::new(&q);
        let mut expected_kv = Expected::new(&elements(kv_type, &kv));
        for &row in &listing.listed {
            let (position, place) = (listing.positions[row] as usize, listing.place(row));
            let input = &rows[row * row_width..][..row_width];
            let head = |i: usize| {
                let mut v = projected(source, input, &matrix.values, &bias, i * stride, stride);
                let is_turned = i < n_heads + n_kv_heads;
                if source == Source::Stored && is_turned {
                    let squares: f64 = v.iter().map(|v| v * v).sum();
                    let scale = 1.0 / (squares / head_dim as f64 + f64::from(EPS)).sqrt();
                    let weights = &norm[if i < n_heads { 0 } else { stride }..];
                    let pairs = v.iter_mut().zip(weights);
                    pairs.for_each(|(v, w)| *v *= scale * f64::from(*w));
                }
                for pair in 0..if rope && is_turned { n_pairs } else { 0 } {
                    let angle = &angles[2 * (position * n_pairs + pair)..];
                    let (cos, sin) = (f64::from(angle[0]), f64::from(angle[1]));
                    let (a, b) = (v[2 * pair], v[2 * pair + 1]);
                    v[2 * pair] = a * cos - b * sin;
                    v[2 * pair + 1] = b * cos + a * sin;
                }
                v
            };
            for i in 0..if with_queries { n_heads } else { 0 } {
                expected_q.put((row * n_heads + i) * stride, head(i));
            }
            for cycle in first_cycle..first_cycle + n_cycles {
                for part in 0..2 {
                    for i in 0..n_kv_heads {
                        let mut values = head(n_heads + part * n_kv_heads + i);
                        if kv_type == KvType::F16 {
                            values
                                .iter_mut()
                                .for_each(|v| *v = v.clamp(-65504.0, 65504.0));
                        }
                        expected_kv.put(layout.element([cycle, part, i, place]), values);
                    }
                }
            }
        }
        let first_output = if with_queries { 0 } else { n_heads * stride };
        let params = Params {
            n_in_octets: padded(n_in) as u32 / 8,
            n_out: (n_out - first_output) as u32,
            weight_row: first_output as u32,
            first_output: first_output as u32,
            list: listing.list(),
            has_bias: 1,
            n_cols: match source {
                Source::Stored => head_dim as u32,
                _ => n_in as u32,
            },
            eps: EPS,
            y_stride: n_out as u32,
            n_heads: n_heads as u32,
            n_kv_heads: n_kv_heads as u32,
            head_octets: stride as u32 / 8,
            has_rope: rope.into(),
            kv_places: layout.kv_places(in_texture),
            first_cycle: first_cycle as u32,
            n_cycles: n_cycles as u32,
            ..Params::default()
        };
        Self {
            source,
            in_texture,
            layout,
            listing,
            params,
            rows,
            row_width,
            dtype,
            weights: matrix.words,
            bias,
            norm,
            angles,
            q,
            kv,
            expected_q,
            expected_kv,
        }
    }

    fn check(&self, gpu: &Gpu) -> Result<()> {
        let [q, kv] = self.run(gpu)?;
        let what = format!(
            "{:?} {:?} {:?} {:?}",
            self.dtype, self.layout.kv_type, self.source, self.params
        );
        let within = Within::Relative(TOLERANCE);
        match self.params.first_output {
            0 => self
                .expected_q
                .check(&format!("queries, {what}"), &q, within)?,
            _ => same(&format!("queries, {what}"), &q, &self.q)?,
        }
        let within = match self.layout.kv_type {
            KvType::F32 => within,
            KvType::F16 => Within::Relative(F16_TOLERANCE),
        };
        let kv = elements(self.layout.kv_type, &kv);
        self.expected_kv
            .check(&format!("cache, {what}"), &kv, within)
    }

    fn target(&self, gpu: &Gpu) -> Target {
        target(gpu, class_of(self.source, self.in_texture), 8)
    }

    /// Runs the kernel, and returns the queries and the KV cache.
    fn run(&self, gpu: &Gpu) -> Result<[Vec<u32>; 2]> {
        let angles = buffer(gpu, &self.angles);
        let q_buffer = buffer(gpu, &self.q);
        let kv_buffer = buffer(gpu, &self.kv);
        let n_rows = self.listing.n_rows();
        let q_size = [self.q.len() / n_rows / 4, n_rows, 1];
        let q_image = Image::new(gpu, TextureFormat::Rgba32Float, q_size);
        q_image.write(gpu, &self.q);
        let kv_image = self.layout.image(gpu, &self.kv);
        let q_view = q_image.view(TextureViewDimension::D2);
        let kv_view = kv_image.view(TextureViewDimension::D2Array);
        let (q, kv) = match self.in_texture {
            true => (Resource::Texture(&q_view), Resource::Texture(&kv_view)),
            false => (Resource::Buffer(&q_buffer), Resource::Buffer(&kv_buffer)),
        };
        let qkv = Qkv {
            angles: &angles,
            q,
            kv,
            kv_type: self.layout.kv_type,
        };
        let n_listed = self.listing.n_listed() + 3;
        let output = &[&q_buffer, &kv_buffer];
        let out = match self.source {
            Source::Stored => {
                let rows = buffer(gpu, &self.listing.values());
                let (projected, norm) = (buffer(gpu, &self.rows), buffer(gpu, &self.norm));
                let call = qkv_store::call(
                    &self.target(gpu),
                    self.params,
                    &projected,
                    &norm,
                    &angles,
                    &rows,
                    qkv,
                );
                run_all(gpu, vec![call], n_listed, output)?
            }
            _ => self.projected(gpu, qkv, |calls| run_all(gpu, calls, n_listed, output))?,
        };
        match self.in_texture {
            true => Ok([q_image.read(gpu)?, self.layout.words(&kv_image.read(gpu)?)]),
            false => Ok([out[0].clone(), out[1].clone()]),
        }
    }

    /// Hands the calls of the projection to `run`.
    fn projected<T>(
        &self,
        gpu: &Gpu,
        qkv: Qkv,
        run: impl FnOnce(Vec<Call>) -> Result<T>,
    ) -> Result<T> {
        let uniform = |values: &[f32]| {
            let mut values = values.to_vec();
            values.resize(UNIFORM_BYTES as usize / 4, f32::NAN);
            let usage = BufferUsages::UNIFORM | BufferUsages::STORAGE;
            gpu.buffer_with("uniform", &values, usage)
        };
        let kind = self.source.kind().unwrap_or(BatchKind::OneRow);
        let row = self.listing.listed[0] * self.row_width;
        let x = match (kind, self.in_texture) {
            (BatchKind::OneRow, true) => uniform(&self.rows[row..][..self.row_width]),
            _ => buffer(gpu, &self.rows),
        };
        let rows = buffer(gpu, &self.listing.values());
        let n_packed = self.listing.listed.len().next_multiple_of(PACKED_TILE);
        let size = [self.row_width / 4, n_packed, 1];
        let packed_image = Image::new(gpu, TextureFormat::Rgba32Float, size);
        let packed = packed_image.view(TextureViewDimension::D2);
        let weights = buffer(gpu, &self.weights);
        let in_a_texture = weights_texture(gpu, &self.weights, self.dtype, n_in(self.dtype));
        let mut calls = Vec::new();
        let target = self.target(gpu);
        if pack_rows::is_wanted(&target, kind) {
            let params = pack_rows::Params {
                n_octets: self.row_width as u32 / 8,
                list: self.listing.list(),
            };
            calls.push(pack_rows::call(
                params,
                &x,
                &rows,
                Resource::Texture(&packed),
            ));
        }
        let (bias, norm) = (buffer(gpu, &self.bias), uniform(&[]));
        let weights = match self.in_texture {
            true => Resource::Texture(&in_a_texture),
            false => Resource::Buffer(&weights),
        };
        let operands = Operands {
            x: &x,
            packed: Resource::Texture(&packed),
            weights,
            bias: &bias,
            rows: &rows,
            norm: &norm,
            input_norm: InputNorm::None,
        };
        let output = Output::Qkv(qkv);
        let call = linear::call(&target, kind, self.dtype, self.params, operands, output);
        calls.push(call);
        run(calls)
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
        Source::Stored => f64::from(row[i]),
        _ => {
            let n_in = weights.len() / bias.len();
            let products = weights[i * n_in..][..n_in].iter().zip(row);
            let products = products.map(|(w, x)| f64::from(*w) * f64::from(*x));
            products.sum::<f64>() + f64::from(bias[i])
        }
    };
    (first..first + n).map(output).collect()
}

/// Copies cycle 1 to the two after it; `planted` is added to a word of the source.
fn copy(
    gpu: &Gpu,
    n_kv_heads: usize,
    head_dim: usize,
    n_listed: usize,
    kv_type: KvType,
    in_texture: bool,
    planted: u32,
) -> Result<()> {
    let (cycle, n_copies) = (1, 2);
    let random = &mut Random::new(head_dim as u64);
    let listing = scattered(n_listed);
    let layout = layout(n_kv_heads, head_dim, kv_type);
    let per_word = 4 / kv_type.n_bytes();
    let mut kv = bits(&values(random, layout.n_words()));
    let mut expected = kv.clone();
    let word = |at: [usize; 4]| layout.element(at) / per_word;
    for &row in &listing.listed {
        let place = listing.place(row);
        for part in 0..2 {
            for head in 0..n_kv_heads {
                let from = word([cycle, part, head, place]);
                for i in 1..=n_copies {
                    let to = word([cycle + i, part, head, place]);
                    expected.copy_within(from..from + layout.stride / per_word, to);
                }
            }
        }
    }
    kv[word([cycle, 1, 0, listing.place(listing.listed[0])])] += planted;
    let params = kv_copy::Params {
        n_kv_heads: n_kv_heads as u32,
        kv_places: layout.kv_places(in_texture),
        head_octets: layout.stride as u32 / 8,
        list: listing.list(),
        cycle: cycle as u32,
        n_copies: n_copies as u32,
    };
    let rows = buffer(gpu, &listing.values());
    let image = layout.image(gpu, &kv);
    let kv = buffer(gpu, &kv);
    let (read, written) = (image.layers(2 * cycle, 2), image.layers(2 * cycle + 2, 4));
    let cache = match in_texture {
        true => [&read, &written].map(Resource::Texture),
        false => [Resource::Buffer(&kv); 2],
    };
    let target = target(gpu, class_of(Source::Stored, in_texture), 8);
    let call = kv_copy::call(&target, kv_type, params, &rows, cache);
    let out = run_all(gpu, vec![call], listing.n_listed() + 3, &[&kv])?.remove(0);
    let out = match in_texture {
        true => layout.words(&image.read(gpu)?),
        false => out,
    };
    same(&format!("{kv_type:?} {params:?}"), &out, &expected)
}
