//! Pictures of a report, as SVG.

mod axis;
mod bandwidth;
mod draw;
#[cfg(test)]
pub mod examples;
mod models;
mod place;
mod quality;
mod roofline;
mod roofs;
mod sweep;
#[cfg(test)]
mod tests;

use plotters::prelude::*;

use super::quality::QualityReport;
use super::report::{AdapterFacts, Report};
use crate::error::{Error, Result};
use bandwidth::Bandwidth;
use draw::{Area, WIDTH, plot_error};
use models::Throughput;
use quality::Quality;
use roofline::Roofline;
use sweep::ExitSweep;

/// Something to draw, its data taken from a report and found drawable.
trait Figure {
    /// The height in pixels; the width is [`WIDTH`].
    fn height(&self) -> u32;
    fn draw(&self, area: &Area<'_>) -> Result<()>;
}

/// The roofline: the speed of every kernel, below the peaks of bandwidth and arithmetic.
///
/// # Errors
/// When no kernel row has both arithmetic and a figure.
pub fn roofline(report: &Report) -> Result<String> {
    render(&[&Roofline::new(report)?])
}

/// Bandwidth over the size of the working set.
///
/// # Errors
/// When no row of a bandwidth probe has a working set and a figure.
pub fn bandwidth(report: &Report) -> Result<String> {
    render(&[&Bandwidth::new(report)?])
}

/// Speed over the mean number of cycles, for each exit threshold.
///
/// # Errors
/// When no model row has a figure.
pub fn exit_sweep(report: &Report) -> Result<String> {
    render(&[&ExitSweep::new(report)?])
}

/// Speed of each test of a model.
///
/// # Errors
/// When no model row has a figure.
pub fn throughput(report: &Report) -> Result<String> {
    render(&[&Throughput::new(report)?])
}

/// Perplexity over the mean number of cycles, for each policy and for fixed depths.
///
/// # Errors
/// When no row has a figure.
pub fn quality(report: &QualityReport) -> Result<String> {
    render(&[&Quality::new(report)?])
}

/// Whether the report tries more than one exit threshold, so that [`exit_sweep`] says something.
pub fn has_exit_sweep(report: &Report) -> bool {
    sweep::thresholds(report) > 1
}

/// All figures that the report has data for, in one picture.
///
/// # Errors
/// When it has data for none.
pub fn combined(report: &Report) -> Result<String> {
    let roofline = Roofline::new(report).ok();
    let bandwidth = Bandwidth::new(report).ok();
    let sweep = has_exit_sweep(report).then(|| ExitSweep::new(report).ok());
    let sweep = sweep.flatten();
    // A sweep shows the same figures as the bars, and more.
    let throughput = match sweep {
        Some(_) => None,
        None => Throughput::new(report).ok(),
    };
    let figures: Vec<&dyn Figure> = [
        roofline.as_ref().map(|figure| figure as &dyn Figure),
        bandwidth.as_ref().map(|figure| figure as &dyn Figure),
        sweep.as_ref().map(|figure| figure as &dyn Figure),
        throughput.as_ref().map(|figure| figure as &dyn Figure),
    ]
    .into_iter()
    .flatten()
    .collect();
    if figures.is_empty() {
        return Err(Error::Plot(
            "the report has no row that can be drawn".into(),
        ));
    }
    render(&figures)
}

/// The figures below one another.
fn render(figures: &[&dyn Figure]) -> Result<String> {
    let height = figures.iter().map(|figure| figure.height()).sum();
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        root.fill(&WHITE).map_err(plot_error)?;
        let mut rest = root.clone();
        for figure in figures {
            let (area, below) = rest.split_vertically(figure.height());
            figure.draw(&area)?;
            rest = below;
        }
        root.present().map_err(plot_error)?;
    }
    Ok(svg)
}

/// The adapter as titles name it.
fn adapter_name(adapter: &AdapterFacts) -> String {
    let name = draw::cut(&adapter.name, 48);
    if adapter.software {
        format!("{name} (software adapter, not a GPU)")
    } else {
        format!("{name} ({})", adapter.backend)
    }
}
