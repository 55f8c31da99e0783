//! Multiply-adds: the peak of f32, of f16, and of cooperative matrices where there are any.

use wgpu::{BufferUsages, CooperativeMatrixProperties, CooperativeScalarType};

use super::{Label, Request, plan, read_back, run_once, steps};
use crate::error::{Error, Result};
use crate::gpu::{Call, Gpu, Kernel, on_buffers};
use crate::kernels::probes::{self, FMA_F16, FMA_F32, MATRIX, Params};
use crate::measure::raw::Raw;
use crate::measure::report::Unit;
use crate::measure::stopwatch::Stopwatch;

/// Workgroups of a dispatch: more than any GPU runs at a time.
const N_GROUPS: u32 = 4096;

/// A dispatch should take this long, in seconds, so that its own cost does not count.
const DISPATCH_SECONDS: f64 = 2e-3;

/// One way of multiplying and adding.
struct Arithmetic<'a> {
    kernel: &'static Kernel,
    flops_per_group_and_step: u64,
    call: &'a dyn Fn(u32) -> Call<'a>,
    out: &'a wgpu::Buffer,
    /// The expected value of every element of `out` after `n_steps`.
    expected: &'a dyn Fn(u32) -> f32,
}

/// f32 is measured in any case, for its peak.
pub(super) fn measure(watch: &Stopwatch<'_>, request: &Request<'_>) -> Result<Vec<Raw>> {
    let gpu = watch.gpu;
    let mut list = Vec::new();
    for kernel in [&FMA_F32, &FMA_F16] {
        let wanted = request.begins(kernel.name) || kernel.needs.is_empty();
        if !wanted || !gpu.features.contains(kernel.needs) {
            continue;
        }
        let out = gpu.storage("out", u64::from(N_GROUPS) * 64 * 16);
        // v / 2 + 1 runs towards 2.
        let call = |n_steps| {
            let params = Params {
                a: 0.5,
                b: 1.0,
                ..steps(n_steps)
            };
            probes::call(kernel, params, on_buffers(&[&out]), N_GROUPS)
        };
        list.push(run(
            watch,
            &Arithmetic {
                kernel,
                flops_per_group_and_step: 64 * 2 * 32,
                call: &call,
                out: &out,
                expected: &|_| 16.0,
            },
        )?);
    }
    if has_matrices(gpu) && request.begins(MATRIX.name) {
        list.push(matrix(watch)?);
    }
    Ok(list)
}

/// Whether the adapter has the matrices that the probe multiplies, in subgroups of the size that
/// it counts on.
fn has_matrices(gpu: &Gpu) -> bool {
    let fits = |m: &CooperativeMatrixProperties| {
        (m.m_size, m.n_size, m.k_size) == (16, 16, 16)
            && m.ab_type == CooperativeScalarType::F16
            && m.cr_type == CooperativeScalarType::F32
    };
    gpu.features.contains(MATRIX.needs)
        && gpu.target.subgroup == [32, 32]
        && gpu.target.matrices.iter().any(fits)
}

fn matrix(watch: &Stopwatch<'_>) -> Result<Raw> {
    let gpu = watch.gpu;
    let sixteenths = [half::f16::from_f32(1.0 / 16.0).to_bits(); 256];
    let data = gpu.buffer_with("data", &sixteenths, BufferUsages::STORAGE);
    let start = gpu.storage("start", 1024);
    let out = gpu.storage("out", u64::from(N_GROUPS) * 1024);
    let call = |n| {
        probes::call(
            &MATRIX,
            steps(n),
            on_buffers(&[&data, &start, &out]),
            N_GROUPS,
        )
    };
    run(
        watch,
        &Arithmetic {
            kernel: &MATRIX,
            flops_per_group_and_step: 4 * 2 * 16 * 16 * 16,
            call: &call,
            out: &out,
            expected: &|n| 4.0 * n as f32 / 16.0,
        },
    )
}

fn run(watch: &Stopwatch<'_>, arithmetic: &Arithmetic<'_>) -> Result<Raw> {
    let gpu = watch.gpu;
    let mut n_steps = 64;
    let mut plan_of = plan(gpu, (arithmetic.call)(n_steps));
    run_once(gpu, &plan_of)?;
    check(gpu, arithmetic, n_steps)?;
    let timing = loop {
        let test = format!("{} {n_steps}", arithmetic.kernel.name);
        let timing = watch.time(&test, |pass, _| plan_of.encode_in(pass, &[]))?;
        let fastest = timing.seconds.iter().copied().fold(f64::MAX, f64::min);
        if fastest >= DISPATCH_SECONDS || n_steps >= 1 << 16 {
            break timing;
        }
        n_steps *= 8;
        plan_of = plan(gpu, (arithmetic.call)(n_steps));
    };
    let flops = arithmetic.flops_per_group_and_step * u64::from(N_GROUPS) * u64::from(n_steps);
    let label = Label::plain(arithmetic.kernel.name);
    Ok(label.raw(Unit::GigaflopsPerSecond, timing, flops as f64 / 1e9))
}

fn check(gpu: &Gpu, arithmetic: &Arithmetic<'_>, n_steps: u32) -> Result<()> {
    let expected = (arithmetic.expected)(n_steps);
    let out = read_back(gpu, arithmetic.out)?;
    let wrong = out
        .iter()
        .map(|&bits| f32::from_bits(bits))
        .find(|v| v.is_nan() || (v - expected).abs() > 1e-2 * expected);
    match wrong {
        Some(found) => Err(Error::Measurement(format!(
            "probe `{}`: expected {expected}, found {found}",
            arithmetic.kernel.name
        ))),
        None => Ok(()),
    }
}
