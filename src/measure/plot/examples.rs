//! Made-up reports to draw in tests.

use crate::measure::report::*;
use crate::measure::stats::Stats;

pub fn row(test: &str, unit: Unit, median: f64, detail: Detail) -> Row {
    let samples = vec![0.97 * median, median, 1.02 * median];
    Row {
        test: test.into(),
        unit,
        stats: Stats::new(&samples),
        detail,
        samples,
    }
}

fn report(tool: &str, rows: Vec<Row>) -> Report {
    Report {
        tool: tool.into(),
        version: "0.1.0".into(),
        adapter: AdapterFacts {
            name: "Example GPU".into(),
            backend: "Vulkan".into(),
            driver: "example 1.2".into(),
            kind: "discrete GPU".into(),
            software: false,
        },
        peaks: Peaks {
            read_gb_per_s: Some(400.0),
            f32_gflop_per_s: Some(12_000.0),
            f16_gflop_per_s: Some(24_000.0),
            ..Peaks::default()
        },
        rows,
    }
}

fn kernel(role: &str, phase: &str, flops: u64, gflop_per_s: f64) -> Row {
    let detail = Detail::Kernel(KernelDetail {
        kernel: "matvec".into(),
        role: role.into(),
        phase: phase.into(),
        n_rows: if phase == "decode" { 1 } else { 128 },
        bytes: 1_000_000,
        flops,
        gb_per_s: 300.0,
        gflop_per_s,
        bound: "memory".into(),
        percent_of_peak: 75.0,
        clock: Clock::Gpu,
        wall_median_us: 12.0,
    });
    row(role, Unit::Microseconds, 3.3, detail)
}

fn bandwidth(probe: &str, mebibytes: u64, median: f64) -> Row {
    let detail = Detail::Device(DeviceDetail {
        probe: probe.into(),
        shape: Some("linear".into()),
        working_set_bytes: Some(mebibytes << 20),
        clock: Clock::Gpu,
        wall_median: 0.9 * median,
    });
    row(probe, Unit::GigabytesPerSecond, median, detail)
}

pub fn microbench() -> Report {
    let rows = vec![
        bandwidth("read", 1, 150.0),
        bandwidth("read", 64, 400.0),
        bandwidth("copy", 64, 380.0),
        kernel("qkv_proj", "decode", 2_000_000, 600.0),
        kernel("kv_append", "decode", 0, 0.0),
        kernel("qkv_proj", "prefill", 90_000_000, 8_000.0),
    ];
    report("microbench", rows)
}

/// A prompt and a generation at each of the thresholds.
pub fn bench(thresholds: &[Option<f64>]) -> Report {
    let tests = [("pp128", 128, 0, 2_000.0), ("tg32", 0, 32, 80.0)];
    let rows = thresholds.iter().flat_map(|exit_threshold| {
        tests.map(|(test, n_prompt, n_gen, speed)| {
            let mean_cycles = 4.0 * exit_threshold.unwrap_or(1.0);
            let detail = ModelDetail {
                model: "example".into(),
                size_bytes: 1 << 30,
                params: 1 << 29,
                kernels: "portable".into(),
                quant: "f16".into(),
                kv_type: "f16".into(),
                cycles: 4,
                exit_threshold: *exit_threshold,
                exit_kv: "copy".into(),
                n_prompt,
                n_gen,
                n_depth: 0,
                n_parallel: 1,
                mean_cycles,
                gb_per_s: None,
                percent_of_bandwidth: Some(50.0),
                time_to_first_token_ms: None,
                submissions_per_token: 1.0,
                dispatches_per_token: 90.0,
                read_backs_per_token: 1.0,
            };
            let median = speed / mean_cycles;
            row(test, Unit::TokensPerSecond, median, Detail::Model(detail))
        })
    });
    report("bench", rows.collect())
}

/// Every measurement nothing.
pub fn make_zero(report: &mut Report) {
    report.peaks = Peaks {
        read_gb_per_s: Some(0.0),
        f32_gflop_per_s: Some(0.0),
        ..Peaks::default()
    };
    for row in &mut report.rows {
        row.samples = vec![0.0; 3];
        row.stats = Stats::new(&row.samples);
        match &mut row.detail {
            Detail::Model(model) => model.mean_cycles = 0.0,
            Detail::Device(device) => device.working_set_bytes = Some(0),
            Detail::Kernel(kernel) => {
                (kernel.bytes, kernel.flops, kernel.gflop_per_s) = (0, 0, 0.0);
            }
        }
    }
}
