//! `matvec` and `matmul`.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::kernels::linear::{Batch, Epilogue, Params, call};
use ztt_wgpu::model::tensor::Dtype;

use super::{DTYPES, Expected, Listing, POISON, Piece, Within};
use super::{bits, buffer, norm, padded, run, stored, tolerance, values};
use crate::adapter;
use crate::compare::same;
use crate::random::Random;

/// Inputs, columns written, listed rows: no shape fits the tiles (8 inputs, 4 outputs, 4 rows).
const SHAPES: &[(usize, usize, usize)] = &[
    (1, 1, 1),
    (7, 3, 2),
    (8, 5, 9),
    (65, 67, 5),
    (130, 257, 1),
    (7, 257, 9),
    (65, 1, 2),
    (9, 6, 7),
];
const EPILOGUES: [Epilogue; 3] = [Epilogue::None, Epilogue::Gelu, Epilogue::SwiGlu];

/// Where a matrix begins in its buffer, its outputs in their row, and its bias.
const OFFSETS: [usize; 3] = [3, 2, 5];

/// Relative to the sum of magnitudes. Rounding (6e-8 a step, mostly cancelling) leaves up to 3e-7.
const TOLERANCE: f64 = 1e-6;

/// WGSL lets `tanh` be off by 1e-5 absolutely, and hardware makes use of it.
const COARSE: f64 = 3e-5;

pub fn trials() -> Vec<Trial> {
    vec![
        adapter::trial("kernels::matvec", |gpu| every_case(&gpu, Batch::One)),
        adapter::trial("kernels::matmul", |gpu| every_case(&gpu, Batch::Many)),
        adapter::trial("kernels::matvec_and_matmul_agree", |gpu| {
            for case in cases() {
                let data = Data::new(&case, 2);
                let one = data.run(&gpu, Batch::One)?;
                let many = data.run(&gpu, Batch::Many)?;
                same(&format!("{case:?}"), &one, &many)?;
            }
            Ok(())
        }),
        adapter::trial("kernels::controls::linear", |gpu| {
            for batch in [Batch::One, Batch::Many] {
                control(&gpu, batch)?;
            }
            Ok(())
        }),
    ]
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
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for &(n_in, n_columns, n_listed) in SHAPES {
        for dtype in DTYPES {
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
                    });
                }
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
    x: Vec<f32>,
    weights: Vec<u32>,
    bias: Vec<f32>,
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
        let [weight_row, column, bias_at] = if case.offsets { OFFSETS } else { [0; 3] };
        let y_stride = column + case.n_columns + 3;
        // The padding of x meets the zeros that pad the weights, so any finite value will do.
        let x = listing.rows(padded(case.n_in), case.n_in, 7e3, random);
        let matrix = stored(case.dtype, &values(random, n_out * case.n_in), case.n_in);
        let row_words = matrix.words.len() / n_out;
        let mut weights = vec![u32::MAX; weight_row * row_words];
        weights.extend(&matrix.words);
        weights.extend(vec![u32::MAX; 2 * row_words]);
        let mut bias = vec![f32::NAN; bias_at];
        bias.extend(values(random, n_out));
        bias.push(f32::NAN);
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
            let sum = |output: usize| {
                let weights = &matrix.values[output * case.n_in..][..case.n_in];
                let products = weights.iter().zip(x_row);
                let products = products.map(|(w, x)| f64::from(*w) * f64::from(*x));
                let bias = if case.bias {
                    bias[bias_at + output]
                } else {
                    0.0
                };
                products
                    .chain([f64::from(bias)])
                    .map(Sum::of)
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
            y_stride: y_stride as u32,
            y_column: column as u32,
            bias_at: bias_at as u32,
            list: listing.list(),
            has_bias: case.bias.into(),
            accumulate: case.accumulate.into(),
        };
        Self {
            case: *case,
            listing,
            params,
            x,
            weights,
            bias,
            y,
            expected,
        }
    }

    fn run(&self, gpu: &Gpu, batch: Batch) -> Result<Vec<u32>> {
        let (x, weights) = (buffer(gpu, &self.x), buffer(gpu, &self.weights));
        let (bias, y) = (buffer(gpu, &self.bias), buffer(gpu, &self.y));
        let rows = buffer(gpu, &self.listing.values());
        let buffers = [&x, &weights, &bias, &rows, &y];
        let call = call(
            batch,
            self.case.dtype,
            self.case.epilogue,
            self.params,
            buffers,
        );
        // Workgroups past the end of the list have nothing to do.
        let n_rows = self.listing.n_listed() + if self.case.offsets { 9 } else { 0 };
        Ok(run(gpu, call, n_rows, &[&y])?.remove(0))
    }

    fn check(&self, gpu: &Gpu, batch: Batch) -> Result<()> {
        let allowed = match self.case.epilogue {
            Epilogue::None => TOLERANCE,
            _ => tolerance(gpu, TOLERANCE, COARSE),
        };
        let out = self.run(gpu, batch)?;
        self.expected
            .check(&format!("{:?}", self.case), &out, Within::Relative(allowed))
    }
}

/// A sum, and the sum of its terms without their signs: what rounding errors are relative to,
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

fn every_case(gpu: &Gpu, batch: Batch) -> Result<()> {
    for (seed, case) in cases().iter().enumerate() {
        Data::new(case, seed as u64).check(gpu, batch)?;
    }
    Ok(())
}

/// One wrong weight, and one value written that should not be, must be found.
fn control(gpu: &Gpu, batch: Batch) -> Result<()> {
    let case = Case {
        n_in: 65,
        n_columns: 67,
        n_listed: 5,
        dtype: Dtype::F32,
        epilogue: Epilogue::None,
        bias: true,
        accumulate: true,
        offsets: true,
    };
    let mut data = Data::new(&case, 1);
    data.check(gpu, batch)?;
    let piece = data.expected.pieces.pop();
    ensure!(data.check(gpu, batch).is_err(), "a row too many passes");
    data.expected.pieces.extend(piece);
    let weight = &mut data.weights[padded(case.n_in) * 10 + 20];
    *weight = (f32::from_bits(*weight) + 0.5).to_bits();
    ensure!(data.check(gpu, batch).is_err(), "a wrong weight passes");
    Ok(())
}
