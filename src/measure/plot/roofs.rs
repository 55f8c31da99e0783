//! The roofs of a roofline: the peaks of bandwidth and arithmetic.

use plotters::prelude::*;

use super::axis::{Frame, has_logarithm};
use super::draw::{Area, FAINT, INK, Pen, Point, dashed, line, text_width};
use super::place::Placer;
use crate::error::Result;
use crate::measure::number;
use crate::measure::report::Peaks;

/// The size of the letters of labels.
pub const LABEL: f64 = 11.0;

/// The peaks that were measured and have a place on logarithmic axes.
pub struct Roofs {
    /// The slope, in GB/s.
    bandwidth: Option<f64>,
    /// The highest first.
    flat: Vec<Roof>,
}

struct Roof {
    name: &'static str,
    gflop_per_s: f64,
    dashed: bool,
}

impl Roofs {
    pub fn new(peaks: &Peaks) -> Self {
        let mut flat: Vec<Roof> = [
            ("f32", peaks.f32_gflop_per_s, false),
            ("f16", peaks.f16_gflop_per_s, true),
            ("matrix units", peaks.matrix_gflop_per_s, true),
        ]
        .into_iter()
        .filter_map(|(name, peak, dashed)| {
            let gflop_per_s = peak.filter(|peak| has_logarithm(*peak))?;
            Some(Roof {
                name,
                gflop_per_s,
                dashed,
            })
        })
        .collect();
        flat.sort_by(|a, b| b.gflop_per_s.total_cmp(&a.gflop_per_s));
        Self {
            bandwidth: peaks.read_gb_per_s.filter(|peak| has_logarithm(*peak)),
            flat,
        }
    }

    /// The flat roofs in GFLOP/s.
    pub fn levels(&self) -> impl Iterator<Item = f64> {
        self.flat.iter().map(|roof| roof.gflop_per_s)
    }

    /// Where the slope meets the flat roofs, in FLOP per byte.
    pub fn ridges(&self) -> impl Iterator<Item = f64> {
        let bandwidths = self.bandwidth.into_iter();
        bandwidths
            .flat_map(|bandwidth| self.levels().map(move |level| level / bandwidth))
            .filter(|ridge| has_logarithm(*ridge))
    }

    /// Tells the placer where no label has room.
    pub fn draw(&self, area: &Area<'_>, frame: &Frame, placer: &mut Placer) -> Result<()> {
        if let Some(bandwidth) = self.bandwidth {
            let top = self.levels().next().unwrap_or(f64::INFINITY);
            draw_slope(area, frame, placer, bandwidth, top)?;
        }
        let mut starts = Vec::new();
        for roof in &self.flat {
            let level = roof.gflop_per_s.log10();
            let ridge = self.bandwidth.map(|bandwidth| level - bandwidth.log10());
            let from = frame.at(ridge.unwrap_or(f64::NEG_INFINITY), level);
            let to = (frame.across.end, from.1);
            if roof.dashed {
                dashed(area, &[from, to], 6, FAINT.stroke_width(2))?;
            } else {
                line(area, &[from, to], INK.stroke_width(2))?;
            }
            placer.take_line(from, to);
            starts.push(from);
        }
        label_roofs(area, frame, placer, &self.flat, &starts)
    }
}

/// Draws the slope of the bandwidth, up to a roof or the edge of the frame.
fn draw_slope(
    area: &Area<'_>,
    frame: &Frame,
    placer: &mut Placer,
    bandwidth: f64,
    top: f64,
) -> Result<()> {
    let (x, y) = frame.ranges();
    let log = bandwidth.log10();
    let start = x.start.max(y.start - log);
    let end = x.end.min(y.end.min(top.log10()) - log);
    if start >= end {
        return Ok(());
    }
    let (from, to) = (frame.at(start, start + log), frame.at(end, end + log));
    line(area, &[from, to], INK.stroke_width(2))?;
    placer.take_line(from, to);
    let text = format!("read {} GB/s", number::significant(bandwidth, 4));
    let width = text_width(&text, LABEL);
    // Left of the line and so above the roof, where no kernel should be.
    let room = frame.across.start + width + 16;
    let part = f64::from((room - from.0).max(0)) / f64::from((to.0 - from.0).max(1));
    let part = part.clamp(0.0, 0.9);
    let along = |a: i32, b: i32| a + (part * f64::from(b - a)) as i32;
    let at = (along(from.0, to.0) - 8, along(from.1, to.1) - 6);
    placer.take((at.0 - width / 2, at.1), width, 14);
    Pen::new(LABEL).right().write(area, &text, at)
}

/// Above the roofs; roofs too near one another for that share a label.
fn label_roofs(
    area: &Area<'_>,
    frame: &Frame,
    placer: &mut Placer,
    roofs: &[Roof],
    starts: &[Point],
) -> Result<()> {
    let mut labels: Vec<(i32, i32, String)> = Vec::new();
    for (roof, (_, level)) in roofs.iter().zip(starts) {
        let text = format!("{} {}", roof.name, number::significant(roof.gflop_per_s, 4));
        match labels.last_mut() {
            Some((_, lowest, shared)) if level - *lowest < 16 => {
                *lowest = *level;
                shared.push_str(&format!(", {text}"));
            }
            _ => labels.push((*level, *level, text)),
        }
    }
    let right = frame.across.end - 6;
    for (index, (level, _, text)) in labels.into_iter().enumerate() {
        let width = text_width(&text, LABEL);
        // The slope leads past all but the highest, which leaves the right to crowded points.
        let end = match (index, starts.first()) {
            (0, Some(ridge)) => right.min(ridge.0 + width + 12),
            _ => right,
        };
        let at = (end, level - 8);
        placer.take((at.0 - width / 2, at.1), width, 14);
        Pen::new(LABEL).right().write(area, &text, at)?;
    }
    Ok(())
}
