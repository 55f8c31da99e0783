//! The inputs of a case, and its expected outputs.

use anyhow::Result;
use wgpu::BufferUsages;
use ztt_wgpu::gpu::{Gpu, Resource, UNIFORM_BYTES};
use ztt_wgpu::kernels::BatchKind;
use ztt_wgpu::kernels::linear::{Epilogue, InputNorm, Map, Norm, Operands, Output, call};
use ztt_wgpu::kernels::pack_rows::{self, PACKED_TILE, packed_width};

use super::super::matrix::{row_words, stored, weights_texture};
use super::super::{Expected, Listing, POISON, Piece, Within};
use super::super::{bits, buffer, norm, padded, run_all, tolerance, values};
use super::sum::{Sum, normed};
use super::{COARSE, Case, EPS, OFFSETS, Place, TOLERANCE};
use crate::random::Random;

/// A texture for rows of `stride` values, packed.
fn packed(gpu: &Gpu, stride: usize, n_rows: usize) -> wgpu::TextureView {
    let height = n_rows.next_multiple_of(PACKED_TILE);
    let usage = wgpu::TextureUsages::STORAGE_BINDING;
    let size = [(packed_width(stride) / 4) as u32, height as u32];
    let texture = gpu.texture("packed", size, wgpu::TextureFormat::Rgba32Float, usage);
    texture.create_view(&wgpu::TextureViewDescriptor::default())
}

/// The inputs of a case, and its expected outputs.
pub struct Data {
    case: Case,
    listing: Listing,
    map: Map,
    y_stride: u32,
    x: Vec<f32>,
    pub weights: Vec<u32>,
    bias: Vec<f32>,
    /// Weights, then biases.
    norm: Vec<f32>,
    y: Vec<u32>,
    pub expected: Expected,
}

impl Data {
    pub fn new(case: &Case, seed: u64) -> Self {
        let random = &mut Random::new(seed);
        let listing = Listing::new(case.n_listed);
        let outputs_a_value = case.epilogue.outputs_a_value() as usize;
        let n_out = outputs_a_value * case.n_columns;
        let [weight_row, first_output] = if case.offsets { OFFSETS } else { [0; 2] };
        let column = first_output / outputs_a_value;
        let y_stride = column + case.n_columns + 3;
        // The padding of x meets the zeros that pad the weights, so any finite value will do;
        // but a norm counts on zeros.
        let padding = if case.norm == InputNorm::None {
            7e3
        } else {
            0.0
        };
        let x = listing.rows(padded(case.n_in), case.n_in, padding, random);
        let mut norm_values = values(random, case.n_in);
        norm_values.resize(padded(case.n_in), 0.0);
        norm_values.extend(values(random, case.n_in));
        norm_values.resize(2 * padded(case.n_in), 0.0);
        let matrix = stored(case.dtype, &values(random, n_out * case.n_in), case.n_in);
        let row_words = row_words(case.dtype, case.n_in);
        let mut weights = vec![u32::MAX; weight_row * row_words];
        weights.extend(&matrix.words);
        weights.extend(vec![u32::MAX; 2 * row_words]);
        let mut bias = vec![f32::NAN; first_output];
        bias.extend(values(random, n_out));
        bias.resize(padded(bias.len()), f32::NAN);
        let mut y = vec![POISON; listing.n_rows() * y_stride];
        if case.accumulate {
            for &row in &listing.listed {
                let at = row * y_stride + column;
                y[at..at + case.n_columns].copy_from_slice(&bits(&values(random, case.n_columns)));
            }
        }
        let mut expected = Expected::new(&y);
        for &row in &listing.listed {
            let x_row = &x[row * padded(case.n_in)..][..case.n_in];
            let x_row = normed(case.norm, x_row, &norm_values);
            let sum = |output: usize| {
                let weights = &matrix.values[output * case.n_in..][..case.n_in];
                let products = weights.iter().zip(&x_row);
                let products = products.map(|(w, x)| x.times(f64::from(*w)));
                let bias = if case.bias {
                    bias[first_output + output]
                } else {
                    0.0
                };
                products
                    .chain([Sum::of(f64::from(bias))])
                    .fold(Sum::of(0.0), Sum::plus)
            };
            let at = row * y_stride + column;
            let sums: Vec<Sum> = (0..case.n_columns)
                .map(|column| {
                    let sum = match case.epilogue {
                        Epilogue::None => sum(column),
                        Epilogue::Mlp(mlp) if mlp.gated => {
                            let gate = sum(2 * column).activated(mlp.activation);
                            gate.times_sum(sum(2 * column + 1))
                        }
                        Epilogue::Mlp(mlp) => sum(column).activated(mlp.activation),
                    };
                    match case.accumulate {
                        true => sum.plus(Sum::of(f64::from(f32::from_bits(y[at + column])))),
                        false => sum,
                    }
                })
                .collect();
            let magnitudes: Vec<f64> = sums.iter().map(|s| s.magnitude).collect();
            expected.pieces.push(Piece {
                at,
                values: sums.iter().map(|s| s.value).collect(),
                size: norm(&magnitudes),
            });
        }
        let map = Map {
            n_in_octets: padded(case.n_in) as u32 / 8,
            n_out: n_out as u32,
            weight_row: weight_row as u32,
            first_output: first_output as u32,
            list: listing.list(),
        };
        Self {
            case: *case,
            listing,
            map,
            y_stride: y_stride as u32,
            x,
            weights,
            bias,
            norm: norm_values,
            y,
            expected,
        }
    }

    /// `place`: where the weights lie.
    pub fn run(&self, gpu: &Gpu, kind: BatchKind, place: Place) -> Result<Vec<u32>> {
        let stride = padded(self.case.n_in);
        let in_texture = place.is_texture();
        let uniform = |values: &[f32]| {
            let mut values = values.to_vec();
            values.resize(UNIFORM_BYTES as usize / 4, f32::NAN);
            let usage = BufferUsages::UNIFORM | BufferUsages::STORAGE;
            gpu.buffer_with("uniform", &values, usage)
        };
        let x = match (kind, in_texture) {
            (BatchKind::OneRow, true) => {
                uniform(&self.x[self.listing.listed[0] * stride..][..stride])
            }
            _ => buffer(gpu, &self.x),
        };
        let norm = uniform(&self.norm);
        let (weights, bias) = (buffer(gpu, &self.weights), buffer(gpu, &self.bias));
        let in_a_texture = weights_texture(gpu, &self.weights, self.case.dtype, self.case.n_in);
        let packed = packed(gpu, stride, self.listing.listed.len());
        let y = buffer(gpu, &self.y);
        let rows = buffer(gpu, &self.listing.values());
        let target = place.target(gpu);
        let input_norm = Some(Norm {
            kind: self.case.norm,
            vectors: &norm,
            n_cols: self.case.n_in as u32,
            eps: EPS,
        });
        let linear = call(
            &target,
            kind,
            self.case.dtype,
            self.map,
            Operands {
                x: &x,
                packed: Resource::Texture(&packed),
                weights: match in_texture {
                    true => Resource::Texture(&in_a_texture),
                    false => Resource::Buffer(&weights),
                },
                bias: self.case.bias.then_some(&bias),
                rows: &rows,
                norm: input_norm,
            },
            Output::Rows {
                y: &y,
                stride: self.y_stride,
                epilogue: self.case.epilogue,
                accumulate: self.case.accumulate,
            },
        );
        let mut calls = Vec::new();
        if pack_rows::is_wanted(&target, kind) {
            calls.push(pack_rows::call(
                &target,
                stride as u32 / 8,
                self.listing.list(),
                input_norm,
                [&x, &rows],
                Resource::Texture(&packed),
            ));
        }
        calls.push(linear);
        // Workgroups past the end of the list have nothing to do.
        let n_rows = self.listing.n_listed() + if self.case.offsets { 40 } else { 0 };
        Ok(run_all(gpu, calls, n_rows, &[&y])?.remove(0))
    }

    pub fn check(&self, gpu: &Gpu, kind: BatchKind, place: Place) -> Result<()> {
        let allowed = match self.case.epilogue {
            Epilogue::None => TOLERANCE,
            _ => tolerance(gpu, TOLERANCE, COARSE),
        };
        let out = self.run(gpu, kind, place)?;
        self.expected
            .check(&format!("{:?}", self.case), &out, Within::Relative(allowed))
    }
}
