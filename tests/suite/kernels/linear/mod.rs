//! `matvec` and `matmul` of rows of outputs; `cache` tests those of queries, keys and values.

mod activation;
mod data;
mod sum;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use ztt_wgpu::gpu::{Gpu, KernelClass, Target};
use ztt_wgpu::kernels::BatchKind;
use ztt_wgpu::kernels::linear::{Epilogue, InputNorm};
use ztt_wgpu::model::block::{Activation, Mlp};
use ztt_wgpu::model::tensor::Dtype;

use super::matrix::fits;
use super::{DTYPES, padded, target};
use crate::adapter;
use crate::compare::same;
use crate::thorough;
use data::Data;

/// Inputs, columns written, listed rows: no shape fits the tiles (8 inputs, 2 to 64 outputs, 8 or
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

/// So many inputs that more lanes share them, where lanes share them at all. Where a lane adds them
/// all, their rounding errors are more than [`TOLERANCE`] allows.
const WIDE: (usize, usize, usize) = (1152, 7, 3);

/// The first [`COMMON`] of them meet every format of weights with every flag.
const EPILOGUES: [Epilogue; 8] = [
    Epilogue::None,
    mlp(Activation::GeluTanh, false),
    mlp(Activation::Silu, true),
    mlp(Activation::Gelu, false),
    mlp(Activation::GeluTanh, true),
    mlp(Activation::Relu, false),
    mlp(Activation::ReluSquared, false),
    mlp(Activation::Gelu, true),
];

const COMMON: usize = 3;

const fn mlp(activation: Activation, gated: bool) -> Epilogue {
    Epilogue::Mlp(Mlp { gated, activation })
}

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
    /// The same with the tiles for subgroups of 64 lanes.
    LargeSubgroups,
    /// The tiles for more outputs than a dispatch has workgroups, were there so few of these.
    SubgroupsOf(u32),
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
            Place::Subgroups | Place::LargeSubgroups | Place::SubgroupsOf(_) => {
                KernelClass::Subgroup
            }
            Place::Texture | Place::TextureOfFour => KernelClass::Software,
        }
    }

    fn target(self, gpu: &Gpu) -> Target {
        let lanes = if self == Place::TextureOfFour { 4 } else { 8 };
        let mut target = target(gpu, self.class(), lanes);
        if let Place::SubgroupsOf(n) = self {
            target.limits.max_compute_workgroups_per_dimension = n;
        }
        if self == Place::LargeSubgroups {
            target.subgroup[1] = 64;
        }
        target
    }
}

/// The kernels.
const KERNELS: [(&str, BatchKind, Place); 18] = [
    ("matvec", BatchKind::OneRow, Place::Buffer),
    ("matvec::two_rows", BatchKind::FewRows(2), Place::Buffer),
    ("matvec::four_rows", BatchKind::FewRows(4), Place::Buffer),
    ("matvec_subgroup", BatchKind::OneRow, Place::Subgroups),
    (
        "matvec_subgroup::two_rows",
        BatchKind::FewRows(2),
        Place::Subgroups,
    ),
    (
        "matvec_subgroup::four_rows",
        BatchKind::FewRows(4),
        Place::Subgroups,
    ),
    (
        "matvec_subgroup::four_outputs",
        BatchKind::OneRow,
        Place::LargeSubgroups,
    ),
    (
        "matvec_subgroup::four_outputs_of_four_rows",
        BatchKind::FewRows(4),
        Place::LargeSubgroups,
    ),
    (
        "matvec_subgroup::many_outputs",
        BatchKind::FewRows(2),
        Place::SubgroupsOf(40),
    ),
    (
        "matvec_subgroup::most_outputs",
        BatchKind::OneRow,
        Place::SubgroupsOf(1),
    ),
    ("matmul", BatchKind::OneSequence, Place::Buffer),
    ("matvec_texture", BatchKind::OneRow, Place::Texture),
    ("matmul_texture", BatchKind::OneSequence, Place::Texture),
    (
        "matmul_texture::two_rows",
        BatchKind::FewRows(2),
        Place::Texture,
    ),
    (
        "matmul_texture::four_rows",
        BatchKind::FewRows(4),
        Place::Texture,
    ),
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
    (
        "matmul_texture::four_rows_by_four_lanes",
        BatchKind::FewRows(4),
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
    for place in [Place::Buffer, Place::Subgroups, Place::Texture] {
        let class = Some(place.class());
        let name = format!("kernels::few_rows_agree::{}", place.class().name());
        trials.push(adapter::trial_of(class, name, move |gpu| {
            few_rows(&gpu, place)
        }));
    }
    trials.push(adapter::trial("kernels::activations", |gpu| {
        activation::relative(&gpu)
    }));
    for (name, kind, place) in KERNELS {
        let class = Some(place.class());
        let name = format!("kernels::controls::{name}");
        trials.push(adapter::trial_of(class, name, move |gpu| {
            control(&gpu, kind, place)
        }));
    }
    trials
}

/// A row has the same bits alone and among few, with two outputs a group and with four; in textures
/// among many, too.
fn few_rows(gpu: &Gpu, place: Place) -> Result<()> {
    let mut kinds = vec![BatchKind::FewRows(2), BatchKind::FewRows(4)];
    if place.is_texture() {
        kinds.extend([BatchKind::FewRows(8), BatchKind::OneSequence]);
    }
    for mut case in cases(kinds[0], place) {
        // One row from a uniform buffer is alone in its list.
        if place.is_texture() {
            case.n_listed = 1;
        }
        let data = Data::new(&case, 3);
        let alone = data.run(gpu, BatchKind::OneRow, place)?;
        for &kind in &kinds {
            let few = data.run(gpu, kind, place)?;
            same(&format!("{kind:?} of {case:?}"), &alone, &few)?;
        }
        if place == Place::Subgroups {
            let place = Place::LargeSubgroups;
            let few = data.run(gpu, kinds[1], place)?;
            same(&format!("{place:?} of {case:?}"), &alone, &few)?;
        }
    }
    Ok(())
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
    let is_shared = kind.is_few() && place.class() != KernelClass::Software;
    let wide = is_shared.then_some(WIDE);
    for (n_in, n_columns, n_listed) in SHAPES.iter().copied().chain(wide) {
        let n_listed = if alone { 1 } else { n_listed };
        let dtypes = DTYPES.into_iter().enumerate();
        for (i, dtype) in dtypes.filter(|&(_, dtype)| fits(dtype, n_in)) {
            for (j, epilogue) in EPILOGUES.into_iter().enumerate() {
                let all_flags = match j < COMMON {
                    true => 0..4,
                    false => (i + j) % 4..(i + j) % 4 + 1,
                };
                for flags in all_flags {
                    cases.push(Case {
                        n_in,
                        n_columns,
                        n_listed,
                        dtype,
                        epilogue,
                        bias: flags & 1 != 0,
                        // With a bias or without: each format and epilogue meets both.
                        accumulate: (flags + i + j) % 2 == 0,
                        offsets: flags & 2 != 0,
                        norm: match kind.is_few() || place.is_texture() {
                            true => NORMS[cases.len() % 3],
                            false => InputNorm::None,
                        },
                    });
                }
            }
        }
    }
    // The tiles of several rows are all that sets these apart from one row.
    if matches!(kind, BatchKind::FewRows(_)) || place == Place::LargeSubgroups {
        cases = cases.into_iter().step_by(5).collect();
    }
    // llvmpipe compiles a second for each format, epilogue and kind of size.
    match place {
        Place::Texture => thorough::one_of(61, cases),
        Place::TextureOfFour => thorough::one_of(127, cases),
        // A few: only the tile differs from that of `Place::Subgroups`.
        Place::SubgroupsOf(_) => cases.into_iter().step_by(23).collect(),
        Place::Buffer | Place::Subgroups | Place::LargeSubgroups => thorough::one_of(13, cases),
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
