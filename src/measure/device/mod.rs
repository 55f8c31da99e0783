//! The peaks of an adapter: bandwidth, arithmetic, and the cost of each kind of request.

mod arithmetic;
mod bandwidth;
mod costs;

use super::raw::{Raw, What};
use super::report::Unit;
use super::stopwatch::{Stopwatch, Timing};
use crate::error::Result;
use crate::gpu::plan::{Plan, Rows};
use crate::gpu::{Call, Gpu};
use crate::kernels::probes::Params;

pub use bandwidth::read_peak;

/// Which measurements are wanted, and who is told of them.
pub struct Request<'a> {
    /// Whether the measurement of this name is wanted.
    pub wanted: &'a dyn Fn(&str) -> bool,
    /// Gets each name before it is measured.
    pub tell: &'a dyn Fn(&str),
}

impl Request<'_> {
    /// Whether `test` is wanted; if so, it is announced.
    pub fn begins(&self, test: &str) -> bool {
        let wanted = (self.wanted)(test);
        if wanted {
            (self.tell)(test);
        }
        wanted
    }
}

/// Runs the probes asked for, and in any case those that kernels are held against.
pub fn measure(watch: &Stopwatch<'_>, request: &Request<'_>) -> Result<Vec<Raw>> {
    let mut list = bandwidth::measure(watch, request)?;
    list.extend(arithmetic::measure(watch, request)?);
    list.extend(costs::measure(watch, request)?);
    Ok(list)
}

/// The name of a probe and the facts that it reports besides its samples.
struct Label<'a> {
    test: String,
    probe: &'a str,
    shape: Option<&'a str>,
    working_set: Option<u64>,
}

impl<'a> Label<'a> {
    fn plain(probe: &'a str) -> Self {
        Self {
            test: probe.to_string(),
            probe,
            shape: None,
            working_set: None,
        }
    }

    /// The samples of this probe, which did `amount` units of work in each repetition.
    fn raw(self, unit: Unit, timing: Timing, amount: f64) -> Raw {
        Raw {
            test: self.test,
            timing: timing.divided(amount),
            what: What::Device {
                unit,
                probe: self.probe.to_string(),
                shape: self.shape.map(str::to_string),
                working_set: self.working_set,
            },
        }
    }
}

/// A plan of one dispatch.
fn plan(gpu: &Gpu, call: Call<'_>) -> Plan {
    let unused = gpu.buffer("indirect", 12, wgpu::BufferUsages::INDIRECT);
    Plan::new(gpu, &[(call, Rows::One)], &unused)
}

/// The contents of a buffer, once everything submitted is done.
fn read_back(gpu: &Gpu, buffer: &wgpu::Buffer) -> Result<Vec<u32>> {
    let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
    let staging = gpu.buffer("staging", buffer.size(), usage);
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
    gpu.queue.submit([encoder.finish()]);
    let bytes = pollster::block_on(gpu.read(&staging, buffer.size()))?;
    Ok(bytemuck::pod_collect_to_vec(&bytes))
}

/// Runs a plan once.
fn run_once(gpu: &Gpu, plan: &Plan) -> Result<()> {
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    plan.encode(&mut encoder, &[]);
    gpu.queue.submit([encoder.finish()]);
    pollster::block_on(gpu.wait())
}

/// Parameters with steps alone.
fn steps(n_steps: u32) -> Params {
    Params {
        n_steps,
        ..Params::default()
    }
}
