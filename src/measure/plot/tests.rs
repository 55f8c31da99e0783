use super::*;
use crate::measure::report::{Detail, Peaks};

const ALL: [fn(&Report) -> Result<String>; 5] =
    [roofline, bandwidth, exit_sweep, throughput, combined];

#[test]
fn roofline_names_its_kernels() {
    let svg = roofline(&examples::microbench()).unwrap();
    for text in [
        "Example GPU (Vulkan)",
        "qkv_proj",
        "75.0 %",
        "read 400.0 GB/s",
        "f32 12,000",
    ] {
        assert!(svg.contains(text), "{text}");
    }
    assert!(svg.contains("kv_append (no arithmetic)"));
}

#[test]
fn bandwidth_names_its_series() {
    let svg = bandwidth(&examples::microbench()).unwrap();
    for text in ["read linear", "copy linear", "4 MiB", "GB/s"] {
        assert!(svg.contains(text), "{text}");
    }
}

#[test]
fn sweep_names_thresholds() {
    let report = examples::bench(&[None, Some(0.9), Some(0.5)]);
    let svg = combined(&report).unwrap();
    for text in ["pp128", "tg32", "none\n", "0.9\n", "0.5\n"] {
        assert!(svg.contains(text), "{text}");
    }
}

#[test]
fn one_threshold_gives_bars() {
    let svg = combined(&examples::bench(&[None])).unwrap();
    assert!(svg.contains("Generation, tokens/s") && svg.contains("tg32"));
}

#[test]
fn software_is_called_so() {
    let mut report = examples::microbench();
    report.adapter.software = true;
    let svg = combined(&report).unwrap();
    assert!(svg.contains("software adapter, not a GPU"));
}

#[test]
fn nothing_to_draw_is_an_error() {
    let mut empty = examples::microbench();
    empty.rows.clear();
    let mut zero = examples::microbench();
    zero.rows.extend(examples::bench(&[None, Some(0.5)]).rows);
    examples::make_zero(&mut zero);
    for draw in ALL {
        assert!(draw(&empty).is_err());
        assert!(draw(&zero).is_err());
    }
}

#[test]
fn single_points_are_drawn() {
    let all = [examples::microbench(), examples::bench(&[Some(0.5)])];
    for row in all.iter().flat_map(|report| report.rows.clone()) {
        let mut report = examples::microbench();
        report.rows = vec![row];
        for peaks in [report.peaks, Peaks::default()] {
            report.peaks = peaks;
            for draw in ALL {
                // Only some of the pictures have anything to show.
                let _ = draw(&report);
            }
        }
    }
}

#[test]
fn extreme_figures_do_not_panic() {
    let mut report = examples::microbench();
    report
        .rows
        .extend(examples::bench(&[None, Some(1e-9)]).rows);
    for figure in [1e-300, 1e-9, 1e300, f64::MAX, f64::INFINITY, f64::NAN] {
        report.peaks.read_gb_per_s = Some(figure);
        for row in &mut report.rows {
            (row.stats.median, row.stats.max) = (figure, figure);
            match &mut row.detail {
                Detail::Model(model) => model.mean_cycles = figure,
                Detail::Device(device) => {
                    device.working_set_bytes = Some(u64::MAX);
                }
                Detail::Kernel(kernel) => kernel.gflop_per_s = figure,
            }
        }
        for draw in ALL {
            let _ = draw(&report);
        }
    }
}
