//! The report of a run of `bench` or `microbench`. Both have one schema,
//! `schemas/report.schema.json`.

use serde::{Deserialize, Serialize};

use super::stats::Stats;

/// A finished run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// `bench` or `microbench`.
    pub tool: String,
    /// The version of this program.
    pub version: String,
    pub adapter: AdapterFacts,
    pub peaks: Peaks,
    pub rows: Vec<Row>,
}

/// Facts about the adapter that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdapterFacts {
    pub name: String,
    pub backend: String,
    pub driver: String,
    /// `discrete GPU`, `integrated GPU`, `virtual GPU`, `software`, `other`, or `host` for the
    /// plain Rust reference.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it is no GPU (a software adapter, or the host): figures say nothing about a GPU.
    pub software: bool,
}

/// The most that the adapter was seen to do in this run; `None` where it was not measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Peaks {
    /// The read bandwidth of the largest working sets, by the best access shape.
    pub read_gb_per_s: Option<f64>,
    pub write_gb_per_s: Option<f64>,
    /// Bytes read and bytes written together.
    pub copy_gb_per_s: Option<f64>,
    pub f32_gflop_per_s: Option<f64>,
    pub f16_gflop_per_s: Option<f64>,
    pub matrix_gflop_per_s: Option<f64>,
}

/// One thing measured several times.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// Names the measurement; two reports are compared by it.
    pub test: String,
    /// The unit of the samples and their summary.
    pub unit: Unit,
    #[serde(flatten)]
    pub stats: Stats,
    #[serde(flatten)]
    pub detail: Detail,
    pub samples: Vec<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    #[serde(rename = "tokens/s")]
    TokensPerSecond,
    #[serde(rename = "GB/s")]
    GigabytesPerSecond,
    #[serde(rename = "GFLOP/s")]
    GigaflopsPerSecond,
    #[serde(rename = "us")]
    Microseconds,
}

impl Unit {
    /// How the unit is written.
    pub fn name(self) -> &'static str {
        match self {
            Unit::TokensPerSecond => "tokens/s",
            Unit::GigabytesPerSecond => "GB/s",
            Unit::GigaflopsPerSecond => "GFLOP/s",
            Unit::Microseconds => "us",
        }
    }

    /// Whether a larger figure is the better one.
    pub fn larger_is_better(self) -> bool {
        self != Unit::Microseconds
    }
}

/// Facts about a row besides the samples.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Detail {
    Model(ModelDetail),
    Device(DeviceDetail),
    Kernel(KernelDetail),
}

/// A row of `bench`: a model on a prompt or in generation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ModelDetail {
    pub model: String,
    pub size_bytes: u64,
    pub params: u64,
    /// The class of kernels.
    pub kernels: String,
    /// How the weights are kept.
    pub quant: String,
    pub kv_type: String,
    /// Cycles that run at most; 1 for a model without cycles.
    pub cycles: usize,
    /// `null`: nothing exits.
    pub exit_threshold: Option<f64>,
    pub exit_kv: String,
    pub n_prompt: usize,
    pub n_gen: usize,
    /// Positions in the cache before the test.
    pub n_depth: usize,
    /// Texts at once; 1 in reports that do not say.
    #[serde(default = "one")]
    pub n_parallel: usize,
    pub mean_cycles: f64,
    /// Bytes that the pass cannot avoid moving, over the median time; `null` on the host.
    pub gb_per_s: Option<f64>,
    /// `gb_per_s` in percent of the read bandwidth measured in the same run.
    pub percent_of_bandwidth: Option<f64>,
    /// The median time from a prompt to its logits on the host; `null` for generation.
    pub time_to_first_token_ms: Option<f64>,
    pub submissions_per_token: f64,
    pub dispatches_per_token: f64,
    pub read_backs_per_token: f64,
}

fn one() -> usize {
    1
}

/// The clock that times were read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// Timestamps of the device.
    Gpu,
    /// The host's clock, from submission until the device is done.
    Wall,
}

impl Clock {
    /// How the clock is written.
    pub fn name(self) -> &'static str {
        match self {
            Clock::Gpu => "gpu",
            Clock::Wall => "wall",
        }
    }
}

/// A row of `microbench`: a probe of the adapter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeviceDetail {
    /// `read`, `write`, `copy`, `fma_f32`, `dispatch`, ...
    pub probe: String,
    /// How invocations share out the memory, for bandwidth.
    pub shape: Option<String>,
    pub working_set_bytes: Option<u64>,
    pub clock: Clock,
    /// The median by the host's clock, in the row's unit.
    pub wall_median: f64,
}

/// A row of `microbench`: a kernel of the engine at the shape of a model.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KernelDetail {
    pub kernel: String,
    /// The kernel's task in the model, such as `qkv_proj`.
    pub role: String,
    /// `decode` or `prefill`.
    pub phase: String,
    pub n_rows: usize,
    /// Bytes that the dispatch cannot avoid moving.
    pub bytes: u64,
    /// Floating-point operations, an FMA counted as two.
    pub flops: u64,
    pub gb_per_s: f64,
    pub gflop_per_s: f64,
    /// `memory` or `compute`: the peak that allows less.
    pub bound: String,
    pub percent_of_peak: f64,
    pub clock: Clock,
    /// The median by the host's clock.
    pub wall_median_us: f64,
}
