//! Samples, before they become the rows of a report.
//!
//! A machine's state changes while it is measured. So every test is taken up in several rounds,
//! minutes apart from each other in a long run, and the samples of all rounds count.

use super::report::{Detail, DeviceDetail, KernelDetail, Peaks, Row, Unit};
use super::stats::Stats;
use super::stopwatch::Timing;
use crate::gpu::Traffic;

/// Samples of a test, and facts about the test.
pub struct Raw {
    pub test: String,
    /// Seconds of one unit of work: a billion bytes or operations, a dispatch, ...
    pub timing: Timing,
    pub what: What,
}

/// The probe or kernel that was timed.
pub enum What {
    Device {
        unit: Unit,
        probe: String,
        shape: Option<String>,
        working_set: Option<u64>,
    },
    Kernel {
        kernel: &'static str,
        role: &'static str,
        phase: &'static str,
        n_rows: usize,
        moved: Traffic,
    },
}

/// Bytes of the least working set that exceeds caches of usual sizes; peaks are of such sets.
const UNCACHED: u64 = 64 << 20;

/// Adds samples to those of the same test, if there are any.
pub fn collect(list: &mut Vec<Raw>, new: Vec<Raw>) {
    for raw in new {
        match list.iter_mut().find(|known| known.test == raw.test) {
            Some(known) => known.timing.extend(raw.timing),
            None => list.push(raw),
        }
    }
}

/// The most that the probes among `list` reached.
pub fn peaks(list: &[Raw]) -> Peaks {
    let largest = |wanted: &str| {
        let sets = list.iter().filter_map(|raw| match &raw.what {
            What::Device {
                probe, working_set, ..
            } if probe == wanted => *working_set,
            _ => None,
        });
        sets.max().unwrap_or(0).min(UNCACHED)
    };
    let best = |wanted: &str| -> Option<f64> {
        let least = largest(wanted);
        let figures = list.iter().filter_map(|raw| match &raw.what {
            What::Device {
                unit,
                probe,
                working_set,
                ..
            } if probe == wanted && working_set.is_none_or(|set| set >= least) => {
                Some(Stats::new(&figures(*unit, &raw.timing.seconds)).median)
            }
            _ => None,
        });
        figures.max_by(f64::total_cmp)
    };
    Peaks {
        read_gb_per_s: best("read"),
        write_gb_per_s: best("write"),
        copy_gb_per_s: best("copy"),
        f32_gflop_per_s: best("fma_f32"),
        f16_gflop_per_s: best("fma_f16"),
        matrix_gflop_per_s: best("matrix"),
    }
}

/// Seconds of a unit of work as figures in `unit`.
fn figures(unit: Unit, seconds: &[f64]) -> Vec<f64> {
    let figure = |&s: &f64| match unit {
        Unit::Microseconds => 1e6 * s,
        _ => 1.0 / s,
    };
    seconds.iter().map(figure).collect()
}

impl Raw {
    /// The row of the report.
    pub fn row(&self, peaks: &Peaks) -> Row {
        let unit = match self.what {
            What::Device { unit, .. } => unit,
            What::Kernel { .. } => Unit::Microseconds,
        };
        let samples = figures(unit, &self.timing.seconds);
        let stats = Stats::new(&samples);
        let wall_median = Stats::new(&figures(unit, &self.timing.wall)).median;
        Row {
            test: self.test.clone(),
            unit,
            detail: self.detail(stats.median, wall_median, peaks),
            stats,
            samples,
        }
    }

    fn detail(&self, median: f64, wall_median: f64, peaks: &Peaks) -> Detail {
        let clock = self.timing.clock;
        match &self.what {
            What::Device {
                probe,
                shape,
                working_set,
                ..
            } => Detail::Device(DeviceDetail {
                probe: probe.clone(),
                shape: shape.clone(),
                working_set_bytes: *working_set,
                clock,
                wall_median,
            }),
            What::Kernel {
                kernel,
                role,
                phase,
                n_rows,
                moved,
            } => {
                // Billions a second of `n` units done in `median` microseconds.
                let rate = |n: u64| n as f64 / median / 1e3;
                let (by_memory, by_compute) = shares(moved, &rate, peaks);
                Detail::Kernel(KernelDetail {
                    kernel: kernel.to_string(),
                    role: role.to_string(),
                    phase: phase.to_string(),
                    n_rows: *n_rows,
                    bytes: moved.bytes(),
                    flops: moved.flops,
                    gb_per_s: rate(moved.bytes()),
                    gflop_per_s: rate(moved.flops),
                    bound: match by_memory >= by_compute {
                        true => "memory".to_string(),
                        false => "compute".to_string(),
                    },
                    percent_of_peak: by_memory.max(by_compute),
                    clock,
                    wall_median_us: wall_median,
                })
            }
        }
    }
}

/// Percent of the time that memory asks for at its peak, and that arithmetic asks for.
fn shares(moved: &Traffic, rate: &dyn Fn(u64) -> f64, peaks: &Peaks) -> (f64, f64) {
    let share = |n: u64, peak: Option<f64>| peak.map_or(0.0, |peak| 100.0 * rate(n) / peak);
    let reading = share(moved.read, peaks.read_gb_per_s);
    let writing = share(moved.written, peaks.write_gb_per_s);
    (
        reading.max(writing),
        share(moved.flops, peaks.f32_gflop_per_s),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::report::Clock;

    fn timing(seconds: &[f64]) -> Timing {
        Timing {
            clock: Clock::Wall,
            seconds: seconds.to_vec(),
            wall: seconds.to_vec(),
        }
    }

    fn read(test: &str, mib: u64, seconds: &[f64]) -> Raw {
        Raw {
            test: test.to_string(),
            timing: timing(seconds),
            what: What::Device {
                unit: Unit::GigabytesPerSecond,
                probe: "read".to_string(),
                shape: None,
                working_set: Some(mib << 20),
            },
        }
    }

    #[test]
    fn rounds_are_collected_and_cached_sets_are_no_peak() {
        let mut list = Vec::new();
        for seconds in [[0.5], [0.25]] {
            let small = read("small", 1, &[0.01]);
            collect(&mut list, vec![small, read("large", 128, &seconds)]);
        }
        assert_eq!(list.len(), 2);
        assert_eq!(list[1].timing.seconds, [0.5, 0.25]);
        assert_eq!(peaks(&list).read_gb_per_s, Some(3.0));
        // Where nothing larger was measured, the small set has to do.
        assert_eq!(peaks(&list[..1]).read_gb_per_s, Some(100.0));
    }

    #[test]
    fn the_tighter_bound_counts() {
        let raw = Raw {
            test: "decode".to_string(),
            timing: timing(&[1e-3]),
            what: What::Kernel {
                kernel: "k",
                role: "r",
                phase: "decode",
                n_rows: 1,
                moved: Traffic {
                    read: 1_000_000,
                    written: 0,
                    flops: 1_000_000,
                },
            },
        };
        let peaks = Peaks {
            read_gb_per_s: Some(2.0),
            f32_gflop_per_s: Some(10.0),
            ..Peaks::default()
        };
        let Detail::Kernel(kernel) = raw.row(&peaks).detail else {
            panic!("no kernel");
        };
        assert_eq!((kernel.gb_per_s, kernel.gflop_per_s), (1.0, 1.0));
        assert_eq!(
            (kernel.bound.as_str(), kernel.percent_of_peak),
            ("memory", 50.0)
        );
    }
}
