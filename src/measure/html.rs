//! A report as one page that needs no network and no script.

mod tables;

use serde::Serialize;

use super::number;
use super::plot;
use super::report::{Peaks, Report};
use crate::error::Result;
use crate::page;
use tables::Table;

const TEMPLATE: &str = include_str!("report.html");

#[derive(Serialize)]
struct Page<'a> {
    look: &'static str,
    report_of: &'a str,
    version: &'a str,
    adapter: &'a super::report::AdapterFacts,
    peaks: Vec<Peak>,
    figures: Vec<Figure>,
    tables: Vec<Table>,
}

#[derive(Serialize)]
struct Peak {
    name: &'static str,
    value: String,
    unit: &'static str,
}

#[derive(Serialize)]
struct Figure {
    title: &'static str,
    how_to_read: &'static str,
    svg: String,
}

/// The report as a page of HTML, complete in itself.
///
/// # Errors
/// When the page cannot be put together; a report without rows still has a page.
pub fn html(report: &Report) -> Result<String> {
    let page = Page {
        look: page::LOOK,
        report_of: &report.tool,
        version: &report.version,
        adapter: &report.adapter,
        peaks: peaks(&report.peaks),
        figures: figures(report),
        tables: tables::tables(report),
    };
    page::render("report", TEMPLATE, &page)
}

/// The peaks that were measured.
fn peaks(peaks: &Peaks) -> Vec<Peak> {
    [
        ("read", peaks.read_gb_per_s, "GB/s"),
        ("write", peaks.write_gb_per_s, "GB/s"),
        ("copy", peaks.copy_gb_per_s, "GB/s"),
        ("f32", peaks.f32_gflop_per_s, "GFLOP/s"),
        ("f16", peaks.f16_gflop_per_s, "GFLOP/s"),
        ("matrix units", peaks.matrix_gflop_per_s, "GFLOP/s"),
    ]
    .into_iter()
    .filter_map(|(name, value, unit)| {
        Some(Peak {
            name,
            value: number::significant(value?, 4),
            unit,
        })
    })
    .collect()
}

/// The figures that the report has rows for.
fn figures(report: &Report) -> Vec<Figure> {
    let models = if plot::has_exit_sweep(report) {
        ("Early exit", HOW_TO_READ_SWEEP, plot::exit_sweep(report))
    } else {
        ("Speed", HOW_TO_READ_SPEED, plot::throughput(report))
    };
    [
        ("Roofline", HOW_TO_READ_ROOFLINE, plot::roofline(report)),
        ("Bandwidth", HOW_TO_READ_BANDWIDTH, plot::bandwidth(report)),
        models,
    ]
    .into_iter()
    .filter_map(|(title, how_to_read, svg)| {
        Some(Figure {
            title,
            how_to_read,
            svg: svg.ok()?,
        })
    })
    .collect()
}

const HOW_TO_READ_ROOFLINE: &str = "Each point is one kernel: further right it computes more for \
    each byte that it moves, further up it computes faster. No kernel can be above the roof: \
    under the slope the memory is the limit, under the flat part the arithmetic units are. The \
    nearer a point is to the roof straight above it, the less there is to gain from a better \
    kernel; moving right, by moving fewer bytes, is the only way past the slope.";

const HOW_TO_READ_BANDWIDTH: &str = "Each line is one way to go through memory, over how much \
    memory it goes through again and again. Small working sets stay in a cache and may exceed \
    what the memory itself can do, or are over too soon to reach full speed. The right end is \
    the memory itself, and the one that counts for the weights of a model.";

const HOW_TO_READ_SWEEP: &str = "Each point is one exit threshold, written beside it; \u{201c}none\u{201d} \
    means that nothing exits. Further left, tokens leave after fewer cycles; further up, the \
    model is faster. A line that rises steeply to the left shows that the cycles saved turn into \
    time saved; a flat one shows that something else takes the time.";

const HOW_TO_READ_SPEED: &str = "Each bar is the median of one test, and the thin line reaches \
    from the slowest to the fastest repetition. Reading a prompt and generating text have scales \
    of their own. Differences smaller than the thin lines say little.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::plot::examples;

    #[test]
    fn names_are_escaped() {
        let mut report = examples::microbench();
        report.adapter.name = "<b>&".into();
        let page = html(&report).unwrap();
        assert!(!page.contains("<b>&"));
        assert!(page.contains("&lt;b&gt;&amp;"));
        assert!(page.contains("<svg"));
    }

    #[test]
    fn software_has_a_badge() {
        let mut report = examples::microbench();
        assert!(!html(&report).unwrap().contains("software adapter"));
        report.adapter.software = true;
        assert!(html(&report).unwrap().contains("software adapter"));
    }

    #[test]
    fn empty_and_zero_reports_have_a_page() {
        let mut report = examples::microbench();
        examples::make_zero(&mut report);
        html(&report).unwrap();
        report.rows.clear();
        assert!(html(&report).unwrap().contains("no rows"));
        html(&examples::bench(&[None, Some(0.9)])).unwrap();
    }
}
