//! `matvec` and `matmul` of rows of outputs; `cache` tests those of queries, keys and values.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use wgpu::BufferUsages;
use ztt_wgpu::gpu::{Gpu, KernelClass, Resource, Target, UNIFORM_BYTES};
use ztt_wgpu::kernels::BatchKind;
use ztt_wgpu::kernels::linear::{Epilogue, InputNorm, Operands, Output, Params, call};
use ztt_wgpu::kernels::pack_rows::{self, PACKED_TILE};
use ztt_wgpu::model::tensor::Dtype;

use super::matrix::{fits, row_words, stored, weights_texture};
use super::{DTYPES, Expected, Listing, POISON, Piece, Within};
use super::{bits, buffer, norm, padded, run_all, target, tolerance, values};
use crate::adapter;
use crate::compare::same;
use crate::random::Random;
use crate::thorough;

/// Inputs, columns written, listed rows: no shape fits the tiles (8 inputs, 8 or 64 outputs, 8 or
/// 32 rows), and some have more rows than one.
const SHAPES: &[(usize, usize, usize)] = &[
    (1, 1, 1),
    (7, 3, 2),
    (8, 5, 9),
    (65, 67, 5),
    (130, 257, 1),
    (7, 257, 9),
    (65, 1, 2),
    (9, 6, 7),
    (40, 70, 34),
    // Whole blocks of quantised weights; nine of them need padding after their scales.
    (32, 3, 2),
    (96, 67, 5),
    (288, 70, 9),
];
const EPILOGUES: [Epilogue; 3] = [Epilogue::None, Epilogue::Gelu, Epilogue::SwiGlu];

/// Where a matrix begins in its buffer, and which of the outputs its first one is.
const OFFSETS: [usize; 2] = [8, 16];

const EPS: f32 = 1e-5;

/// Relative to the sum of magnitudes. Rounding (6e-8 a step, mostly cancelling) leaves up to 3e-7.
const TOLERANCE: f64 = 1e-6;

/// WGSL lets `tanh` be off by 1e-5 absolutely, and hardware makes use of it.
const COARSE: f64 = 3e-5;

const NORMS: [InputNorm; 3] = [InputNorm::None, InputNorm::Rms, InputNorm::Layer];

/// Where the weights lie.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Buffer,
    /// In a buffer, and lanes exchange sums within subgroups.
    Subgroups,
    Texture,
    /// In a texture, counting on four lanes of a subgroup.
    TextureOfFour,
}

impl Place {
    fn is_texture(self) -> bool {
        matches!(self, Place::Texture | Place::TextureOfFour)
    }

    fn class(self) -> KernelClass {
        match self {
            Place::Buffer => KernelClass::Workgroup,
            Place::Subgroups => KernelClass::Subgroup,
            Place::Texture | Place::TextureOfFour => KernelClass::Software,
        }
    }

    fn target(self, gpu: &Gpu) -> Target {
        let lanes = if self == Place::TextureOfFour { 4 } else { 8 };
        target(gpu, self.class(), lanes)
    }
}

/// The kernels.
const KERNELS: [(&str, BatchKind, Place); 7] = [
    ("matvec", BatchKind::OneRow, Place::Buffer),
    ("matvec_subgroup", BatchKind::OneRow, Place::Subgroups),
    ("matmul", BatchKind::OneSequence, Place::Buffer),
    ("matvec_texture", BatchKind::OneRow, Place::Texture),
    ("matmul_texture", BatchKind::OneSequence, Place::Texture),
    (
        "matvec_texture::four_lanes",
        BatchKind::OneRow,
        Place::TextureOfFour,
    ),
    (
        "matmul_texture::four_lanes",
        BatchKind::OneSequence,
        Place::TextureOfFour,
    ),
];

pub fn trials() -> Vec<Trial> {
    let kernel = |(name, kind, place): (_, _, Place)| {
        adapter::trial_of(
            Some(place.class()),
            format!("kernels::{name}"),
            move |gpu| {
                for (seed, case) in cases(kind, place).iter().enumerate() {
                    Data::new(case, seed as u64).check(&gpu, kind, place)?;
                }
                Ok(())
            },
        )
    };
    let mut trials: Vec<Trial> = KERNELS.map(kernel).into();
    // In textures, outputs are summed in the same order however many rows there are.
    trials.push(adapter::trial_of(
        Some(KernelClass::Software),
        "kernels::matvec_and_matmul_of_textures_agree",
        |gpu| {
            let place = Place::Texture;
            let cases = cases(BatchKind::OneRow, place).into_iter();
            for case in cases.filter(|case| case.norm == InputNorm::None) {
                let data = Data::new(&case, 2);
                let one = data.run(&gpu, BatchKind::OneRow, place)?;
                let many = data.run(&gpu, BatchKind::OneSequence, place)?;
                same(&format!("{case:?}"), &one, &many)?;
            }
            Ok(())
        },
    ));
    for (name, kind, place) in KERNELS {
        let class = Some(place.class());
        let name = format!("kernels::controls::{name}");
        trials.push(adapter::trial_of(class, name, move |gpu| {
            control(&gpu, kind, place)
        }));
    }
    trials
}

/// A texture for rows of `stride` values, packed.
fn packed(gpu: &Gpu, stride: usize, n_rows: usize) -> wgpu::TextureView {
    let height = n_rows.next_multiple_of(PACKED_TILE);
    let usage = wgpu::TextureUsages::STORAGE_BINDING;
    let size = [(stride / 4) as u32, height as u32];
    let texture = gpu.texture("packed", size, wgpu::TextureFormat::Rgba32Float, usage);
    texture.create_view(&wgpu::TextureViewDescriptor::default())
}

#[derive(Clone, Copy, Debug)]
struct Case {
    n_in: usize,
    n_columns: usize,
    n_listed: usize,
    dtype: Dtype,
    epilogue: Epilogue,
    bias: bool,
    accumulate: bool,
    offsets: bool,
    norm: InputNorm,
}

/// All cases, or a sample. One row from a uniform buffer is alone in its list.
fn cases(kind: BatchKind, place: Place) -> Vec<Case> {
    let alone = kind == BatchKind::OneRow && place.is_texture();
    let mut cases = Vec::new();
    for &(n_in, n_columns, n_listed) in SHAPES {
        let n_listed = if alone { 1 } else { n_listed };
        for dtype in DTYPES.into_iter().filter(|&dtype| fits(dtype, n_in)) {
            for epilogue in EPILOGUES {
                for flags in 0..8 {
                    cases.push(Case {
                        n_in,
                        n_columns,
                        n_listed,
                        dtype,
                        epilogue,
                        bias: flags & 1 != 0,
                        accumulate: flags & 2 != 0,
                        offsets: flags & 4 != 0,
                        norm: match kind {
                            BatchKind::OneRow => NORMS[cases.len() % 3],
                            _ => InputNorm::None,
                        },
                    });
                }
            }
        }
    }
    // llvmpipe compiles a second for each format, epilogue and kind of size.
    match place {
        Place::Texture => thorough::one_of(61, cases),
        Place::TextureOfFour => thorough::one_of(127, cases),
        Place::Buffer | Place::Subgroups => thorough::one_of(13, cases),
    }
}

/// The inputs of a case, and its expected outputs.
struct Data {
    case: Case,
    listing: Listing,
    params: Params,
    x: Vec<f32>,
    weights: Vec<u32>,
    bias: Vec<f32>,
    /// Weights, then biases.
    norm: Vec<f32>,
    y: Vec<u32>,
    expected: Expected,
}

impl Data {
    fn new(case: &Case, seed: u64) -> Self {
        let random = &mut Random::new(seed);
        let listing = Listing::new(case.n_listed);
        let n_out = match case.epilogue {
            Epilogue::SwiGlu => 2 * case.n_columns,
            _ => case.n_columns,
        };
        let [weight_row, first_output] = if case.offsets { OFFSETS } else { [0; 2] };
        let column = match case.epilogue {
            Epilogue::SwiGlu => first_output / 2,
            _ => first_output,
        };
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
                        Epilogue::Gelu => sum(column).gelu(),
                        Epilogue::SwiGlu => sum(2 * column).swiglu(sum(2 * column + 1)),
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
        let params = Params {
            n_in_octets: padded(case.n_in) as u32 / 8,
            n_out: n_out as u32,
            weight_row: weight_row as u32,
            first_output: first_output as u32,
            list: listing.list(),
            has_bias: case.bias.into(),
            n_cols: case.n_in as u32,
            eps: EPS,
            y_stride: y_stride as u32,
            accumulate: case.accumulate.into(),
            ..Params::default()
        };
        Self {
            case: *case,
            listing,
            params,
            x,
            weights,
            bias,
            norm: norm_values,
            y,
            expected,
        }
    }

    /// `place`: where the weights lie.
    fn run(&self, gpu: &Gpu, kind: BatchKind, place: Place) -> Result<Vec<u32>> {
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
        let linear = call(
            &target,
            kind,
            self.case.dtype,
            self.params,
            Operands {
                x: &x,
                packed: Resource::Texture(&packed),
                weights: match in_texture {
                    true => Resource::Texture(&in_a_texture),
                    false => Resource::Buffer(&weights),
                },
                bias: &bias,
                rows: &rows,
                norm: &norm,
                input_norm: self.case.norm,
            },
            Output::Rows {
                y: &y,
                epilogue: self.case.epilogue,
            },
        );
        let mut calls = Vec::new();
        if pack_rows::is_wanted(&target, kind) {
            let params = pack_rows::Params {
                n_octets: stride as u32 / 8,
                list: self.listing.list(),
            };
            calls.push(pack_rows::call(
                params,
                &x,
                &rows,
                Resource::Texture(&packed),
            ));
        }
        calls.push(linear);
        // Workgroups past the end of the list have nothing to do.
        let n_rows = self.listing.n_listed() + if self.case.offsets { 40 } else { 0 };
        Ok(run_all(gpu, calls, n_rows, &[&y])?.remove(0))
    }

    fn check(&self, gpu: &Gpu, kind: BatchKind, place: Place) -> Result<()> {
        let allowed = match self.case.epilogue {
            Epilogue::None => TOLERANCE,
            _ => tolerance(gpu, TOLERANCE, COARSE),
        };
        let out = self.run(gpu, kind, place)?;
        self.expected
            .check(&format!("{:?}", self.case), &out, Within::Relative(allowed))
    }
}

/// A row after its norm.
fn normed(kind: InputNorm, row: &[f32], norm: &[f32]) -> Vec<Sum> {
    let n = row.len();
    let mean_of = |values: &[f64]| values.iter().sum::<f64>() / n as f64;
    let row: Vec<f64> = row.iter().map(|&v| v.into()).collect();
    let mean = match kind {
        InputNorm::Layer => mean_of(&row),
        _ => 0.0,
    };
    let squares: Vec<f64> = row.iter().map(|v| (v - mean).powi(2)).collect();
    let scale = match kind {
        InputNorm::None => return row.into_iter().map(Sum::of).collect(),
        _ => 1.0 / (mean_of(&squares) + f64::from(EPS)).sqrt(),
    };
    let value = |i: usize| {
        let centred = Sum::of(row[i]).plus(Sum::of(-mean));
        let scaled = centred.times(scale * f64::from(norm[i]));
        match kind {
            InputNorm::Layer => scaled.plus(Sum::of(norm[padded(n) + i].into())),
            _ => scaled,
        }
    };
    (0..n).map(value).collect()
}

/// A sum, and the sum of its terms without their signs, which rounding errors are relative to,
/// however much of the sum cancels.
#[derive(Clone, Copy)]
struct Sum {
    value: f64,
    magnitude: f64,
}

impl Sum {
    fn of(value: f64) -> Self {
        Self {
            value,
            magnitude: value.abs(),
        }
    }

    fn times(self, factor: f64) -> Self {
        Self {
            value: self.value * factor,
            magnitude: self.magnitude * factor.abs(),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            value: self.value + other.value,
            magnitude: self.magnitude + other.magnitude,
        }
    }

    /// GELU and SiLU are hardly steeper than 1, and so keep errors as they are.
    fn gelu(self) -> Self {
        let v = self.value;
        let inner = (2.0 / std::f64::consts::PI).sqrt() * (v + 0.044715 * v.powi(3));
        Self {
            value: 0.5 * v * (1.0 + inner.tanh()),
            ..self
        }
    }

    fn swiglu(self, up: Self) -> Self {
        let silu = self.value / (1.0 + (-self.value).exp());
        Self {
            value: silu * up.value,
            magnitude: self.magnitude * up.value.abs() + silu.abs() * up.magnitude,
        }
    }
}

/// One wrong weight, and one value written that should not be, must be found.
fn control(gpu: &Gpu, kind: BatchKind, place: Place) -> Result<()> {
    let case = Case {
        n_in: 65,
        n_columns: 67,
        n_listed: if kind == BatchKind::OneRow && place.is_texture() {
            1
        } else {
            5
        },
        dtype: Dtype::F32,
        epilogue: Epilogue::None,
        bias: true,
        accumulate: true,
        offsets: true,
        norm: InputNorm::None,
    };
    let mut data = Data::new(&case, 1);
    data.check(gpu, kind, place)?;
    let piece = data.expected.pieces.pop();
    if case.n_listed > 1 {
        let complaint = "a row too many passes";
        ensure!(data.check(gpu, kind, place).is_err(), "{complaint}");
    }
    data.expected.pieces.extend(piece);
    let weight = &mut data.weights[padded(case.n_in) * (OFFSETS[0] + 7) + 20];
    *weight = (f32::from_bits(*weight) + 0.5).to_bits();
    ensure!(
        data.check(gpu, kind, place).is_err(),
        "a wrong weight passes"
    );
    Ok(())
}
