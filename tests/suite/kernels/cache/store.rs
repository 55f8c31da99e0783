//! Queries, keys and values of rows, and what is expected of them.

use anyhow::Result;
use wgpu::{BufferUsages, TextureFormat, TextureViewDimension};
use ztt_wgpu::gpu::{Call, Gpu, Resource, Target, UNIFORM_BYTES};
use ztt_wgpu::kernels::linear::{self, Map, Operands, Output, Qkv};
use ztt_wgpu::kernels::pack_rows::{PACKED_TILE, packed_width};
use ztt_wgpu::kernels::{BatchKind, Heads, KvType, pack_rows, qkv_store};
use ztt_wgpu::model::block::QkSpan;
use ztt_wgpu::model::tensor::Dtype;

use super::super::image::Image;
use super::super::layout::Layout;
use super::super::matrix::{stored, weights_texture};
use super::super::{Expected, Listing, POISON, Within};
use super::super::{buffer, padded, run_all, target, values};
use super::rows::Rows;
use super::{EPS, F16_TOLERANCE, N_PLACES, Source, TOLERANCE};
use super::{class_of, layout, n_in, projected, reference, scattered};
use crate::compare::same;
use crate::random::Random;

/// The inputs of a case, and its expected outputs.
pub struct Store {
    source: Source,
    in_texture: bool,
    layout: Layout,
    pub listing: Listing,
    map: Map,
    heads: Heads,
    head_dim: usize,
    rope: bool,
    /// The first that is written, and how many are.
    cycles: [u32; 2],
    /// Input rows of the kernel, and the width of one: projected rows, or the inputs of the
    /// projection.
    pub rows: Vec<f32>,
    pub row_width: usize,
    dtype: Dtype,
    /// `[output][n_in]` as the kernel reads them, and their bias: of the projection.
    weights: Vec<u32>,
    bias: Vec<f32>,
    /// Weights of the norm, `[head][stride]`: of a query and a key, or of all of them.
    norm: Vec<f32>,
    angles: Vec<f32>,
    q: Vec<u32>,
    kv: Vec<u32>,
    expected_q: Expected,
    /// The expected KV cache, in elements; in q8_0 in words.
    expected_kv: Expected,
    expected_rows: Rows,
}

impl Store {
    pub fn new(
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
        let is_stored = matches!(source, Source::Stored(_));
        let qk_norm = match source {
            Source::Stored(norm) => norm,
            _ => None,
        };
        let n_normed = match qk_norm.map(|norm| norm.span) {
            Some(QkSpan::Width) => n_heads + n_kv_heads,
            _ => 2,
        };
        let norm = heads(n_normed, random);
        let row_width = match source {
            Source::Stored(_) => n_out,
            _ => padded(n_in),
        };
        let mut rows = vec![f32::NAN; listing.n_rows() * row_width];
        for &row in &listing.listed {
            let row = &mut rows[row * row_width..][..row_width];
            match source {
                Source::Stored(_) => {
                    row.copy_from_slice(&heads(n_out / stride, random));
                    if !with_queries {
                        row[..n_heads * stride].fill(f32::NAN);
                    }
                }
                _ => {
                    row.fill(7.0);
                    row[..n_in].copy_from_slice(&values(random, n_in));
                }
            }
        }
        // More than the cache can hold: becomes the largest that it can.
        let value = listing.listed[0] * row_width + n_out - stride;
        match kv_type {
            KvType::F16 if is_stored => rows[value] = -1e6,
            KvType::Q8_0 if is_stored => {
                rows[value] = f32::NEG_INFINITY;
                // The scale is 1, and halves are rounded down.
                if let (Some(&row), 4..) = (listing.listed.get(1), head_dim) {
                    let value = row * row_width + n_out - stride;
                    rows[value..value + 4].copy_from_slice(&[-127.0, 2.5, -2.5, 0.5]);
                    rows[value + 4..value + head_dim.min(32)].fill(1.0);
                }
            }
            _ => {}
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
        let mut expected_kv = Expected::new(&layout.elements(&kv));
        let mut expected_rows = Rows::new(&kv);
        for &row in &listing.listed {
            let (position, place) = (listing.positions[row] as usize, listing.place(row));
            let input = &rows[row * row_width..][..row_width];
            let head =
                |i: usize| projected(source, input, &matrix.values, &bias, i * stride, stride);
            let n_turned = n_heads + n_kv_heads;
            let parts = [0..n_heads, n_heads..n_turned, n_turned..n_out / stride];
            let [mut queries, mut keys, values]: [Vec<Vec<f64>>; 3] =
                parts.map(|part| part.map(head).collect());
            for after_rope in [false, true] {
                if let Some(kind) = qk_norm.filter(|norm| norm.after_rope == after_rope) {
                    reference::norm(&mut queries, &mut keys, head_dim, kind, &norm);
                }
                if rope && !after_rope {
                    let angles = &angles[2 * position * n_pairs..];
                    reference::rotate(&mut queries, angles);
                    reference::rotate(&mut keys, angles);
                }
            }
            for (i, query) in queries.into_iter().enumerate().filter(|_| with_queries) {
                expected_q.put((row * n_heads + i) * stride, query);
            }
            for cycle in first_cycle..first_cycle + n_cycles {
                for (part, heads) in [&keys, &values].into_iter().enumerate() {
                    for (i, head) in heads.iter().enumerate() {
                        let at = [cycle, part, i, place];
                        if kv_type == KvType::Q8_0 {
                            let is_same = part == 1 || (qk_norm.is_none() && !rope);
                            expected_rows.put(layout.word(at), head, is_same);
                            continue;
                        }
                        let mut values = head.clone();
                        if kv_type == KvType::F16 {
                            values
                                .iter_mut()
                                .for_each(|v| *v = v.clamp(-65504.0, 65504.0));
                        }
                        expected_kv.put(layout.element(at), values);
                    }
                }
            }
        }
        let first_output = if with_queries { 0 } else { n_heads * stride };
        let map = Map {
            n_in_octets: padded(n_in) as u32 / 8,
            n_out: (n_out - first_output) as u32,
            weight_row: first_output as u32,
            first_output: first_output as u32,
            list: listing.list(),
        };
        let heads = Heads {
            n_heads: n_heads as u32,
            n_kv_heads: n_kv_heads as u32,
            octets: stride as u32 / 8,
        };
        Self {
            source,
            in_texture,
            layout,
            listing,
            map,
            heads,
            head_dim,
            rope,
            cycles: [first_cycle as u32, n_cycles as u32],
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
            expected_rows,
        }
    }

    pub fn check(&self, gpu: &Gpu) -> Result<()> {
        let [q, kv] = self.run(gpu)?;
        let what = format!(
            "{:?} {:?} {:?} {:?}",
            self.dtype, self.layout.kv_type, self.source, self.map
        );
        let within = Within::Relative(TOLERANCE);
        match self.map.first_output {
            0 => self
                .expected_q
                .check(&format!("queries, {what}"), &q, within)?,
            _ => same(&format!("queries, {what}"), &q, &self.q)?,
        }
        let what = format!("cache, {what}");
        let within = match self.layout.kv_type {
            KvType::F32 => within,
            KvType::F16 => Within::Relative(F16_TOLERANCE),
            KvType::Q8_0 => return self.expected_rows.check(&what, &kv),
        };
        self.expected_kv
            .check(&what, &self.layout.elements(&kv), within)
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
            heads: self.heads,
            angles: self.rope.then_some(&angles),
            q,
            kv,
            kv_type: self.layout.kv_type,
            kv_places: self.layout.kv_places(self.in_texture),
            first_cycle: self.cycles[0],
            n_cycles: self.cycles[1],
        };
        let n_listed = self.listing.n_listed() + 3;
        let output = &[&q_buffer, &kv_buffer];
        let out = match self.source {
            Source::Stored(norm) => {
                let rows = buffer(gpu, &self.listing.values());
                let (projected, weights) = (buffer(gpu, &self.rows), buffer(gpu, &self.norm));
                let weights = &weights;
                let projected = qkv_store::Projected {
                    values: &projected,
                    stride: self.row_width as u32,
                    norm: norm.map(|norm| qkv_store::QkNormWeights { weights, norm }),
                    head_dim: self.head_dim as u32,
                    eps: EPS,
                    rows: &rows,
                    list: self.map.list,
                    first_output: self.map.first_output,
                    n_out: self.map.n_out,
                };
                let call = qkv_store::call(&self.target(gpu), projected, qkv);
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
        let size = [packed_width(self.row_width) / 4, n_packed, 1];
        let packed_image = Image::new(gpu, TextureFormat::Rgba32Float, size);
        let packed = packed_image.view(TextureViewDimension::D2);
        let weights = buffer(gpu, &self.weights);
        let in_a_texture = weights_texture(gpu, &self.weights, self.dtype, n_in(self.dtype));
        let mut calls = Vec::new();
        let target = self.target(gpu);
        if pack_rows::is_wanted(&target, kind) {
            calls.push(pack_rows::call(
                &target,
                self.row_width as u32 / 8,
                self.listing.list(),
                None,
                [&x, &rows],
                Resource::Texture(&packed),
            ));
        }
        let bias = buffer(gpu, &self.bias);
        let weights = match self.in_texture {
            true => Resource::Texture(&in_a_texture),
            false => Resource::Buffer(&weights),
        };
        let operands = Operands {
            x: &x,
            packed: Resource::Texture(&packed),
            weights,
            bias: Some(&bias),
            rows: &rows,
            norm: None,
        };
        let output = Output::Qkv(qkv);
        let call = linear::call(&target, kind, self.dtype, self.map, operands, output);
        calls.push(call);
        run(calls)
    }
}
