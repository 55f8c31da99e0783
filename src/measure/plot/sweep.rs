//! Speed over the mean number of cycles, for each exit threshold.

use plotters::prelude::*;

use super::axis::{Axis, Frame};
use super::draw::{
    Area, BLUE, FAINT, GREEN, Marker, ORANGE, PURPLE, Pen, SKY, VERMILLION, WIDTH, cut, line,
    marker, text_width, title, whisker,
};
use super::models::{ModelRow, differences, model_rows, threshold};
use super::place::Placer;
use super::{Figure, adapter_name};
use crate::error::Result;
use crate::measure::report::{Detail, ModelDetail, Report};

const COLOURS: [RGBColor; 6] = [BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY];
const PANEL_HEIGHT: u32 = 380;
const TOP: u32 = 58;
const LABEL: f64 = 12.0;

/// The speed at every exit threshold, ready to draw.
pub struct ExitSweep<'a> {
    title: String,
    /// A panel each: their speeds are so far apart that one scale would flatten most.
    series: Vec<Series<'a>>,
}

/// One test with one set of settings, at several thresholds.
struct Series<'a> {
    name: String,
    rows: Vec<ModelRow<'a>>,
}

/// How many thresholds the model rows have, `null` counted as one.
pub fn thresholds(report: &Report) -> usize {
    let mut seen: Vec<Option<f64>> = Vec::new();
    for row in &report.rows {
        if let Detail::Model(model) = &row.detail
            && !seen.contains(&model.exit_threshold)
        {
            seen.push(model.exit_threshold);
        }
    }
    seen.len()
}

impl<'a> ExitSweep<'a> {
    pub fn new(report: &'a Report) -> Result<Self> {
        let rows = model_rows(report)?;
        let differences = differences(&rows);
        let mut series: Vec<Series<'a>> = Vec::new();
        for (row, difference) in rows.into_iter().zip(differences) {
            let mut name = workload(row.1);
            if !difference.is_empty() {
                name.push_str(&format!(", {difference}"));
            }
            match series.iter_mut().find(|s| s.name == name) {
                Some(same) => same.rows.push(row),
                None => series.push(Series {
                    name,
                    rows: vec![row],
                }),
            }
        }
        for one in &mut series {
            one.rows
                .sort_by(|a, b| a.1.mean_cycles.total_cmp(&b.1.mean_cycles));
        }
        Ok(Self {
            title: format!("Early exit: {}", adapter_name(&report.adapter)),
            series,
        })
    }

    fn columns(&self) -> usize {
        self.series.len().min(2)
    }
}

impl Figure for ExitSweep<'_> {
    fn height(&self) -> u32 {
        TOP + PANEL_HEIGHT * self.series.len().div_ceil(self.columns()) as u32
    }

    fn draw(&self, area: &Area<'_>) -> Result<()> {
        title(area, &self.title)?;
        Pen::new(LABEL).colour(FAINT).write(
            area,
            "labels: exit threshold; points: medians; whiskers: min to max",
            (16, 46),
        )?;
        let width = WIDTH / self.columns() as u32;
        for (index, series) in self.series.iter().enumerate() {
            let corner = (
                (index % self.columns()) as u32 * width,
                TOP + (index / self.columns()) as u32 * PANEL_HEIGHT,
            );
            let panel = area.clone().shrink(corner, (width, PANEL_HEIGHT));
            series.draw(&panel, COLOURS[index % COLOURS.len()])?;
        }
        Ok(())
    }
}

impl Series<'_> {
    fn draw(&self, panel: &Area<'_>, colour: RGBColor) -> Result<()> {
        let heading = cut(&self.name, 60);
        Pen::new(14.0).bold().write(panel, &heading, (86, 20))?;
        let cycles = self.rows.iter().map(|(_, model)| model.mean_cycles);
        let greatest = self.rows.iter().map(|(row, _)| row.stats.max);
        let x = Axis::around("mean cycles a token", cycles);
        let y = Axis::from_zero("tokens/s", greatest.fold(f64::MIN_POSITIVE, f64::max));
        let frame = Frame::draw(panel, x, y, 36)?;
        let points: Vec<_> = self
            .rows
            .iter()
            .map(|(row, model)| frame.at(model.mean_cycles, row.stats.median))
            .collect();
        line(panel, &points, colour.mix(0.6).stroke_width(2))?;
        let mut placer = Placer::new(frame.across.clone(), frame.down.clone());
        points.iter().for_each(|at| placer.take(*at, 10, 10));
        points
            .windows(2)
            .for_each(|pair| placer.take_line(pair[0], pair[1]));
        for ((row, model), at) in self.rows.iter().zip(points) {
            let ends = [row.stats.min, row.stats.max];
            let ends = ends.map(|end| frame.at(model.mean_cycles, end));
            whisker(panel, ends[0], ends[1], colour)?;
            marker(panel, Marker::Circle, at, colour)?;
            let text = threshold(model);
            let place = placer.place(at, text_width(&text, LABEL) + 4, 14);
            if place.needs_leader {
                let style = colour.mix(0.5).stroke_width(1);
                line(panel, &[at, place.centre], style)?;
            }
            Pen::new(LABEL).centre().write(panel, &text, place.centre)?;
        }
        Ok(())
    }
}

/// The test without its threshold: `pp128`, `tg32`, `tg32 @ d512`.
fn workload(model: &ModelDetail) -> String {
    let mut parts = Vec::new();
    if model.n_prompt > 0 {
        parts.push(format!("pp{}", model.n_prompt));
    }
    if model.n_gen > 0 {
        parts.push(format!("tg{}", model.n_gen));
    }
    let mut name = parts.join("+");
    if model.n_depth > 0 {
        name.push_str(&format!(" @ d{}", model.n_depth));
    }
    name
}
