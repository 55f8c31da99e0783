//! Bandwidth over the size of the working set.

use plotters::prelude::*;

use super::axis::{Axis, Frame};
use super::draw::{
    Area, BLUE, FAINT, GREEN, Marker, Pen, VERMILLION, cut, dashed, line, marker, title, whisker,
};
use super::{Figure, adapter_name};
use crate::error::{Error, Result};
use crate::measure::report::{Detail, DeviceDetail, Report, Unit};
use crate::measure::stats::Stats;

const HEIGHT: u32 = 460;
const LEGEND_LEFT: i32 = 806;

/// The bandwidth of every probe and access shape, ready to draw.
pub struct Bandwidth<'a> {
    title: String,
    series: Vec<Series<'a>>,
}

/// One probe with one access shape.
struct Series<'a> {
    probe: &'a str,
    shape: &'a str,
    /// Working sets in bytes and the bandwidth over each, the smallest first.
    points: Vec<(f64, Stats)>,
}

impl<'a> Bandwidth<'a> {
    pub fn new(report: &'a Report) -> Result<Self> {
        let mut series: Vec<Series<'a>> = Vec::new();
        for row in &report.rows {
            let Detail::Device(device) = &row.detail else {
                continue;
            };
            let Some(working_set) = working_set(device) else {
                continue;
            };
            if row.unit == Unit::GigabytesPerSecond && row.stats.median.is_finite() {
                series_for(&mut series, device)
                    .points
                    .push((working_set, row.stats));
            }
        }
        for one in &mut series {
            one.points.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        if !series.iter().any(|s| s.greatest() > 0.0) {
            return Err(Error::Plot(
                "the report has no bandwidth above zero to draw".into(),
            ));
        }
        Ok(Self {
            title: format!("Bandwidth: {}", adapter_name(&report.adapter)),
            series,
        })
    }

    fn axes(&self) -> (Axis, Axis) {
        let sizes = self
            .series
            .iter()
            .flat_map(|s| s.points.iter().map(|p| p.0));
        let greatest = self.series.iter().map(Series::greatest).fold(0.0, f64::max);
        (
            Axis::binary_bytes("working set", sizes),
            Axis::from_zero("GB/s", greatest),
        )
    }

    /// Access shapes in order of appearance, for their markers.
    fn shapes(&self) -> Vec<&'a str> {
        let mut shapes = Vec::new();
        for series in &self.series {
            if !shapes.contains(&series.shape) {
                shapes.push(series.shape);
            }
        }
        shapes
    }

    fn draw_series(&self, area: &Area<'_>, frame: &Frame) -> Result<()> {
        let shapes = self.shapes();
        for (index, series) in self.series.iter().enumerate() {
            let colour = colour_of(series.probe);
            let shape = shapes.iter().position(|s| *s == series.shape).unwrap_or(0);
            let points: Vec<_> = series
                .points
                .iter()
                .map(|(size, stats)| frame.at(size.log2(), stats.median))
                .collect();
            for (size, stats) in &series.points {
                let ends = [stats.min, stats.max].map(|end| frame.at(size.log2(), end));
                whisker(area, ends[0], ends[1], colour)?;
            }
            let y = 64 + 22 * index as i32;
            let sample = [(LEGEND_LEFT, y), (LEGEND_LEFT + 28, y)];
            for path in [points.as_slice(), sample.as_slice()] {
                stroke(area, path, shape, colour)?;
            }
            let kind = Marker::ALL[shape % Marker::ALL.len()];
            for at in points.into_iter().chain([(LEGEND_LEFT + 14, y)]) {
                marker(area, kind, at, colour)?;
            }
            let name = cut(&format!("{} {}", series.probe, series.shape), 24);
            Pen::new(12.0).write(area, &name, (LEGEND_LEFT + 36, y))?;
        }
        let y = 64 + 22 * self.series.len() as i32;
        let note = Pen::new(11.0).colour(FAINT);
        note.write(area, "points: medians", (LEGEND_LEFT, y + 6))?;
        note.write(area, "whiskers: min to max", (LEGEND_LEFT, y + 22))
    }
}

impl Figure for Bandwidth<'_> {
    fn height(&self) -> u32 {
        HEIGHT.max(64 + 22 * self.series.len() as u32 + 40)
    }

    fn draw(&self, area: &Area<'_>) -> Result<()> {
        title(area, &self.title)?;
        let chart = area
            .clone()
            .shrink((0, 0), (LEGEND_LEFT as u32 - 6, self.height()));
        let (x, y) = self.axes();
        let frame = Frame::draw(&chart, x, y, 44)?;
        self.draw_series(area, &frame)
    }
}

impl Series<'_> {
    fn greatest(&self) -> f64 {
        let ends = self.points.iter().map(|(_, s)| s.median.max(s.max));
        ends.filter(|end| end.is_finite()).fold(0.0, f64::max)
    }
}

/// The working set of a bandwidth probe in bytes; `None` for other probes.
fn working_set(device: &DeviceDetail) -> Option<f64> {
    let is_bandwidth = matches!(device.probe.as_str(), "read" | "write" | "copy");
    let bytes = device.working_set_bytes.filter(|bytes| *bytes > 0)?;
    is_bandwidth.then_some(bytes as f64)
}

fn series_for<'s, 'a>(
    series: &'s mut Vec<Series<'a>>,
    device: &'a DeviceDetail,
) -> &'s mut Series<'a> {
    let shape = device.shape.as_deref().unwrap_or("");
    let same = |s: &Series<'_>| s.probe == device.probe && s.shape == shape;
    let index = series.iter().position(same).unwrap_or_else(|| {
        series.push(Series {
            probe: &device.probe,
            shape,
            points: Vec::new(),
        });
        series.len() - 1
    });
    &mut series[index]
}

fn colour_of(probe: &str) -> RGBColor {
    match probe {
        "read" => BLUE,
        "write" => VERMILLION,
        _ => GREEN,
    }
}

/// The first access shape has a solid line, the others ever longer dashes.
fn stroke(area: &Area<'_>, path: &[(i32, i32)], shape: usize, colour: RGBColor) -> Result<()> {
    let style = colour.stroke_width(2);
    match shape {
        0 => line(area, path, style),
        _ => dashed(area, path, 3 * shape as i32, style),
    }
}
