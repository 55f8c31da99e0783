//! The cost of requests: dispatches, skipped dispatches, submissions, reading back, barriers.

use wgpu::{BufferUsages, ComputePassDescriptor};

use super::{Label, Request, plan, read_back, run_once, steps};
use crate::error::{Error, Result};
use crate::gpu::plan::{Plan, Rows};
use crate::gpu::{Gpu, Kernel, on_buffers};
use crate::kernels::probes::{self, BARRIER, Params, SKIP, SUBGROUP_SUM, WORKGROUP_SUM};
use crate::measure::raw::Raw;
use crate::measure::report::Unit;
use crate::measure::stopwatch::{Stopwatch, Timing};

/// Workgroups of the dispatches that are skipped: as many as a small matrix takes.
const N_GROUPS: u32 = 64;

/// Microseconds of each of `n` that a repetition has.
fn microseconds(test: &str, timing: Timing, n: f64) -> Raw {
    Label::plain(test).raw(Unit::Microseconds, timing, n)
}

pub(super) fn measure(watch: &Stopwatch<'_>, request: &Request<'_>) -> Result<Vec<Raw>> {
    let mut rows = dispatches(watch, request)?;
    rows.extend(requests(watch, request)?);
    for (kernel, name, per_step, check) in [
        (&BARRIER, "barrier", 2.0, rotated as Check),
        (&WORKGROUP_SUM, "workgroup_sum", 1.0, averaged),
        (&SUBGROUP_SUM, "subgroup_sum", 1.0, averaged),
    ] {
        if watch.gpu.features.contains(kernel.needs) && request.begins(name) {
            rows.push(in_workgroup(watch, kernel, name, per_step, check)?);
        }
    }
    Ok(rows)
}

/// A dispatch in a pass, and one that is skipped in either way.
fn dispatches(watch: &Stopwatch<'_>, request: &Request<'_>) -> Result<Vec<Raw>> {
    let gpu = watch.gpu;
    let storage = BufferUsages::STORAGE;
    let flags = [0u32, 1].map(|flag| gpu.buffer_with("flag", &[flag], storage));
    let indirect = [[0u32, 1, 1], [N_GROUPS, 1, 1]]
        .map(|size| gpu.buffer_with("indirect", &size, BufferUsages::INDIRECT));
    let mut rows = Vec::new();
    // Test, workgroups, whether the flag says go, indirect size, whether anything is written.
    let cases: [(&str, u32, usize, Option<usize>); 5] = [
        ("dispatch", 1, 1, None),
        ("dispatch of 64 workgroups", N_GROUPS, 1, None),
        ("indirect dispatch of 64 workgroups", N_GROUPS, 1, Some(1)),
        ("skipped by zero indirect count", N_GROUPS, 1, Some(0)),
        ("skipped by early return", N_GROUPS, 0, None),
    ];
    for (test, n_groups, flag, by_size) in cases {
        if !request.begins(test) {
            continue;
        }
        let out = gpu.storage("out", 64 * 4 * u64::from(N_GROUPS));
        let buffers = on_buffers(&[&flags[flag], &out]);
        let call = probes::call(&SKIP, Params::default(), buffers, n_groups);
        let rows_of = match by_size {
            Some(_) => Rows::Indirect(0),
            None => Rows::One,
        };
        let plan = Plan::new(gpu, &[(call, rows_of)], &indirect[by_size.unwrap_or(0)]);
        run_once(gpu, &plan)?;
        let runs = flag == 1 && by_size != Some(0);
        let n_written = if runs { 64 * n_groups as usize } else { 0 };
        let written = read_back(gpu, &out)?;
        let right = (0..)
            .zip(&written)
            .all(|(i, &v)| v == u32::from(i < n_written));
        if !right {
            return Err(Error::Measurement(format!(
                "probe `{test}`: expected {n_written} values written once, found otherwise"
            )));
        }
        let timing = watch.time(test, |pass, _| plan.encode_in(pass, &[]))?;
        rows.push(microseconds(test, timing, 1.0));
    }
    Ok(rows)
}

/// The time that the host needs for a submission, and for an answer.
fn requests(watch: &Stopwatch<'_>, request: &Request<'_>) -> Result<Vec<Raw>> {
    const N: usize = 100;
    let gpu = watch.gpu;
    let mut rows = Vec::new();
    let flag = gpu.buffer_with("flag", &[1u32], BufferUsages::STORAGE);
    let out = gpu.storage("out", 256);
    let plan = plan(
        gpu,
        probes::call(&SKIP, Params::default(), on_buffers(&[&flag, &out]), 1),
    );
    let encoder = || gpu.device.create_command_encoder(&Default::default());
    if request.begins("submission") {
        let timing = watch.time_on_host(N, |n| {
            for _ in 0..n {
                let mut encoder = encoder();
                plan.encode(&mut encoder, &[]);
                gpu.queue.submit([encoder.finish()]);
            }
            pollster::block_on(gpu.wait())
        })?;
        rows.push(microseconds("submission", timing, 1.0));
    }
    if request.begins("read-back") {
        let usage = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
        let staging = gpu.buffer("staging", 4, usage);
        let timing = watch.time_on_host(N, |n| {
            for _ in 0..n {
                let mut encoder = encoder();
                plan.encode(&mut encoder, &[]);
                encoder.copy_buffer_to_buffer(&out, 0, &staging, 0, 4);
                gpu.queue.submit([encoder.finish()]);
                pollster::block_on(gpu.read(&staging, 4))?;
            }
            Ok(())
        })?;
        rows.push(microseconds("read-back", timing, 1.0));
    }
    if request.begins("pass") {
        let timing = watch.time_on_host(N, |n| {
            let mut encoder = encoder();
            for _ in 0..n {
                let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor::default());
                plan.encode_in(&mut pass, &[]);
            }
            gpu.queue.submit([encoder.finish()]);
            pollster::block_on(gpu.wait())
        })?;
        rows.push(microseconds("pass", timing, 1.0));
    }
    Ok(rows)
}

/// Whether `out` is right after a number of steps.
type Check = fn(&[u32], u32) -> bool;

/// Each lane has the number of the lane `n_steps` further on.
fn rotated(out: &[u32], n_steps: u32) -> bool {
    (0..).zip(out).all(|(lane, &v)| v == (lane + n_steps) % 64)
}

/// The mean of all lanes is unchanged, and lanes were mixed.
fn averaged(out: &[u32], _: u32) -> bool {
    let values: Vec<f32> = out.iter().map(|&bits| f32::from_bits(bits)).collect();
    let mean = values.iter().sum::<f32>() / values.len() as f32;
    (mean - 31.5).abs() < 1e-2 && values[0] > 0.0
}

/// The time of one step of a workgroup of 64.
fn in_workgroup(
    watch: &Stopwatch<'_>,
    kernel: &'static Kernel,
    name: &str,
    per_step: f64,
    check: Check,
) -> Result<Raw> {
    const N_STEPS: u32 = 2000;
    let gpu: &Gpu = watch.gpu;
    let out = gpu.storage("out", 256);
    let plan = plan(
        gpu,
        probes::call(kernel, steps(N_STEPS), on_buffers(&[&out]), 1),
    );
    run_once(gpu, &plan)?;
    if !check(&read_back(gpu, &out)?, N_STEPS) {
        return Err(Error::Measurement(format!(
            "probe `{name}`: expected other values than it wrote"
        )));
    }
    let timing = watch.time(name, |pass, _| plan.encode_in(pass, &[]))?;
    let per = per_step * f64::from(N_STEPS);
    Ok(microseconds(name, timing, per))
}
