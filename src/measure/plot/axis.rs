//! Axes whose ticks this module chooses. A logarithmic axis is a linear one of logarithms: so no
//! range can be one that plotters refuses.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::prelude::*;

use super::draw::{Area, FAINT, INK, Point, font_size, plot_error};
use crate::error::Result;
use crate::measure::number;

/// Whether a figure has a place on a logarithmic axis.
pub fn has_logarithm(value: f64) -> bool {
    (1e-12..1e18).contains(&value)
}

/// One axis: its range and its ticks.
pub struct Axis {
    title: String,
    range: Range<f64>,
    labelled: Vec<f64>,
    unlabelled: Vec<f64>,
    label: fn(f64) -> String,
}

impl Axis {
    /// Decimal logarithms; the values are those of [`has_logarithm`].
    pub fn decimal(title: &str, values: impl IntoIterator<Item = f64>, factor: f64) -> Self {
        let pad = factor.log10();
        let range = padded(values.into_iter().map(f64::log10), pad);
        let decades = range.end - range.start;
        let mantissas: &[f64] = if decades < 3.2 {
            &[1.0, 2.0, 5.0]
        } else {
            &[1.0]
        };
        let step = (decades / 10.0).ceil().max(1.0) as usize;
        let ticks = |mantissas: &[f64], step| decimal_ticks(&range, mantissas, step);
        Self {
            title: title.into(),
            labelled: ticks(mantissas, step),
            unlabelled: match step {
                1 => ticks(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], 1),
                _ => Vec::new(),
            },
            label: |exponent| number::short(10f64.powf(exponent)),
            range,
        }
    }

    /// Binary logarithms of bytes.
    pub fn binary_bytes(title: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let range = padded(values.into_iter().map(f64::log2), 0.5);
        let octaves = range.end - range.start;
        let every = if octaves < 4.0 {
            1
        } else {
            2 * (octaves / 24.0).ceil() as i32
        };
        Self {
            title: title.into(),
            labelled: whole_between(&range, every),
            unlabelled: whole_between(&range, 1),
            label: |exponent| number::bytes(exponent.exp2()),
            range,
        }
    }

    /// A linear axis from zero to a little above the greatest value.
    pub fn from_zero(title: &str, greatest: f64) -> Self {
        Self::linear(title, 0.0..greatest * 1.08)
    }

    /// A linear axis from a little below the least value to a little above the greatest.
    pub fn around(title: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let range = padded(values, 0.0);
        let pad = 0.08 * (range.end - range.start);
        Self::linear(title, range.start - pad..range.end + pad)
    }

    fn linear(title: &str, range: Range<f64>) -> Self {
        let step = round_step((range.end - range.start) / 7.0);
        let first = (range.start / step).ceil();
        let labelled = (0..20)
            .map(|tick| (first + f64::from(tick)) * step)
            .take_while(|tick| *tick <= range.end)
            .collect();
        Self {
            title: title.into(),
            labelled,
            unlabelled: Vec::new(),
            label: number::short,
            range,
        }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        pixel(*value, &self.range, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match hint.weight().allow_light_points() {
            true => self.unlabelled.clone(),
            false => self.labelled.clone(),
        }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        (self.label)(*value)
    }
}

/// Where a value lies between two pixels; one out of range at the nearer of them.
fn pixel(value: f64, range: &Range<f64>, (from, to): (i32, i32)) -> i32 {
    let part = (value - range.start) / (range.end - range.start);
    from + (part.clamp(0.0, 1.0) * f64::from(to - from)).round() as i32
}

/// The range of the values, widened by `pad` at both ends, and never a single point.
fn padded(values: impl IntoIterator<Item = f64>, pad: f64) -> Range<f64> {
    let (low, high) = values
        .into_iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
    if !low.is_finite() || !high.is_finite() {
        return 0.0..1.0;
    }
    let narrow = (high - low) < 1e-6 * high.abs().max(1.0);
    let pad = if narrow { pad.max(0.5) } else { pad };
    low - pad..high + pad
}

/// Logarithms of `mantissa * 10^n` within the range, for every `step`th n.
fn decimal_ticks(range: &Range<f64>, mantissas: &[f64], step: usize) -> Vec<f64> {
    (range.start.floor() as i32..=range.end.ceil() as i32)
        .step_by(step)
        .flat_map(|decade| mantissas.iter().map(move |m| f64::from(decade) + m.log10()))
        .filter(|tick| range.contains(tick))
        .collect()
}

/// The multiples of `every` within the range.
fn whole_between(range: &Range<f64>, every: i32) -> Vec<f64> {
    (range.start.ceil() as i32..=range.end.floor() as i32)
        .filter(|whole| whole % every == 0)
        .map(f64::from)
        .collect()
}

/// 1, 2 or 5 times a power of ten, at least `least`.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|mantissa| mantissa * power)
        .find(|step| *step >= least)
        .unwrap_or(10.0 * power)
}

/// Where the values of two drawn axes lie on their area.
pub struct Frame {
    x: Range<f64>,
    y: Range<f64>,
    pub across: Range<i32>,
    pub down: Range<i32>,
}

impl Frame {
    /// Draws the axes into the area, with `above` pixels left free for a title.
    pub fn draw(area: &Area<'_>, x: Axis, y: Axis, above: u32) -> Result<Self> {
        let (x_range, y_range) = (x.range.clone(), y.range.clone());
        let (x_title, y_title) = (x.title.clone(), y.title.clone());
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .margin_top(above)
            .x_label_area_size(42)
            .y_label_area_size(74)
            .build_cartesian_2d(x, y)
            .map_err(plot_error)?;
        chart
            .configure_mesh()
            .axis_style(FAINT)
            .bold_line_style(INK.mix(0.16))
            .light_line_style(INK.mix(0.06))
            .x_desc(x_title)
            .y_desc(y_title)
            .label_style((FontFamily::SansSerif, font_size(12.0), &INK))
            .axis_desc_style((FontFamily::SansSerif, font_size(13.0), &INK))
            .draw()
            .map_err(plot_error)?;
        let (across, down) = chart.plotting_area().get_pixel_range();
        let (left, top) = area.get_base_pixel();
        Ok(Self {
            x: x_range,
            y: y_range,
            across: across.start - left..across.end - left,
            down: down.start - top..down.end - top,
        })
    }

    /// The ranges of the two axes.
    pub fn ranges(&self) -> (Range<f64>, Range<f64>) {
        (self.x.clone(), self.y.clone())
    }

    /// The pixel of a point, in the units of the axes.
    pub fn at(&self, x: f64, y: f64) -> Point {
        let (across, down) = (&self.across, &self.down);
        (
            pixel(x, &self.x, (across.start, across.end)),
            pixel(y, &self.y, (down.end, down.start)),
        )
    }
}
