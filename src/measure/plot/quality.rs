//! Perplexity over the mean number of cycles: the loss by early exit, beside that of fixed depths.

use plotters::prelude::*;

use super::axis::{Axis, Frame};
use super::draw::{
    Area, BLUE, FAINT, GREEN, INK, Marker, Pen, Point, VERMILLION, cut, dashed, line, marker,
    text_width, title,
};
use super::place::Placer;
use super::{Figure, adapter_name};
use crate::error::{Error, Result};
use crate::measure::quality::{FIXED, QualityReport, QualityRow};

const HEIGHT: u32 = 520;
const LEGEND_LEFT: i32 = 806;
const LABEL: f64 = 12.0;

/// The perplexity of every setting, ready to draw.
pub struct Quality<'a> {
    title: String,
    subtitle: String,
    series: Vec<Series<'a>>,
}

/// The settings of one policy, the least compute first.
struct Series<'a> {
    policy: &'a str,
    rows: Vec<&'a QualityRow>,
}

impl<'a> Quality<'a> {
    pub fn new(report: &'a QualityReport) -> Result<Self> {
        let mut series: Vec<Series<'a>> = Vec::new();
        for row in report.rows.iter().filter(|row| is_drawable(row)) {
            match series.iter_mut().find(|s| s.policy == row.policy) {
                Some(same) => same.rows.push(row),
                None => series.push(Series {
                    policy: &row.policy,
                    rows: vec![row],
                }),
            }
        }
        if series.is_empty() {
            return Err(Error::Plot("there is no perplexity to draw".into()));
        }
        for one in &mut series {
            one.rows
                .sort_by(|a, b| a.figures.mean_cycles.total_cmp(&b.figures.mean_cycles));
        }
        Ok(Self {
            title: format!(
                "Quality against compute: {} on {}",
                cut(&report.model, 32),
                adapter_name(&report.adapter)
            ),
            subtitle: format!(
                "{} tokens in windows of {}, KV {}",
                report.n_tokens, report.n_ctx, report.kv_type
            ),
            series,
        })
    }

    fn axes(&self) -> (Axis, Axis) {
        let all = || self.series.iter().flat_map(|s| &s.rows);
        (
            Axis::around(
                "mean cycles a token",
                all().map(|row| row.figures.mean_cycles),
            ),
            Axis::around("perplexity", all().map(|row| row.figures.perplexity)),
        )
    }

    /// Keeps the labels off every point and line.
    fn placer(&self, frame: &Frame) -> Placer {
        let mut placer = Placer::new(frame.across.clone(), frame.down.clone());
        for series in &self.series {
            let points = series.points(frame);
            points.iter().for_each(|at| placer.take(*at, 10, 10));
            points
                .windows(2)
                .for_each(|pair| placer.take_line(pair[0], pair[1]));
        }
        placer
    }
}

impl Figure for Quality<'_> {
    fn height(&self) -> u32 {
        HEIGHT
    }

    fn draw(&self, area: &Area<'_>) -> Result<()> {
        title(area, &self.title)?;
        Pen::new(LABEL)
            .colour(FAINT)
            .write(area, &self.subtitle, (16, 46))?;
        let chart = area
            .clone()
            .shrink((0, 0), (LEGEND_LEFT as u32 - 6, HEIGHT));
        let (x, y) = self.axes();
        let frame = Frame::draw(&chart, x, y, 64)?;
        let mut placer = self.placer(&frame);
        for series in &self.series {
            series.draw_line(area, &series.points(&frame))?;
        }
        for (index, series) in self.series.iter().enumerate() {
            series.draw_points(area, &frame, &mut placer)?;
            series.draw_legend(area, 84 + 22 * index as i32)?;
        }
        let y = 90 + 22 * self.series.len() as i32;
        let note = Pen::new(11.0).colour(FAINT);
        note.write(area, "labels: exit threshold,", (LEGEND_LEFT, y))?;
        note.write(area, "or cycles of a fixed depth", (LEGEND_LEFT, y + 16))
    }
}

impl Series<'_> {
    fn points(&self, frame: &Frame) -> Vec<Point> {
        let at = |row: &&QualityRow| frame.at(row.figures.mean_cycles, row.figures.perplexity);
        self.rows.iter().map(at).collect()
    }

    fn look(&self) -> (RGBColor, Marker) {
        match self.policy {
            FIXED => (INK, Marker::Diamond),
            "propagate" => (BLUE, Marker::Circle),
            "share" => (VERMILLION, Marker::Square),
            _ => (GREEN, Marker::Triangle),
        }
    }

    /// Between fixed depths nothing runs: the line is dashed.
    fn draw_line(&self, area: &Area<'_>, points: &[Point]) -> Result<()> {
        let style = self.look().0.mix(0.6).stroke_width(2);
        match self.policy {
            FIXED => dashed(area, points, 4, style),
            _ => line(area, points, style),
        }
    }

    fn draw_points(&self, area: &Area<'_>, frame: &Frame, placer: &mut Placer) -> Result<()> {
        let (colour, kind) = self.look();
        for (row, at) in self.rows.iter().zip(self.points(frame)) {
            marker(area, kind, at, colour)?;
            let text = match row.threshold {
                Some(threshold) => threshold.to_string(),
                None if row.cycles == 1 => "1 cycle".to_string(),
                None => format!("{} cycles", row.cycles),
            };
            let place = placer.place(at, text_width(&text, LABEL) + 4, 14);
            if place.needs_leader {
                line(area, &[at, place.centre], colour.mix(0.5).stroke_width(1))?;
            }
            Pen::new(LABEL)
                .colour(colour)
                .centre()
                .write(area, &text, place.centre)?;
        }
        Ok(())
    }

    fn draw_legend(&self, area: &Area<'_>, y: i32) -> Result<()> {
        let (colour, kind) = self.look();
        self.draw_line(area, &[(LEGEND_LEFT, y), (LEGEND_LEFT + 28, y)])?;
        marker(area, kind, (LEGEND_LEFT + 14, y), colour)?;
        let name = match self.policy {
            FIXED => "fixed depth".to_string(),
            policy => format!("exits, {policy}"),
        };
        Pen::new(LABEL).write(area, &name, (LEGEND_LEFT + 36, y))
    }
}

fn is_drawable(row: &QualityRow) -> bool {
    row.figures.perplexity.is_finite() && row.figures.mean_cycles.is_finite()
}
