//! The speed of a model: the labels of its rows, and a bar for each.

use plotters::prelude::*;

use super::draw::{
    Area, BLUE, FAINT, GREEN, INK, Pen, VERMILLION, WIDTH, cut, line, plot_error, title,
};
use super::{Figure, adapter_name};
use crate::error::{Error, Result};
use crate::measure::number;
use crate::measure::report::{Detail, ModelDetail, Report, Row, Unit};

const BARS_LEFT: i32 = 300;
const BARS_WIDTH: f64 = 540.0;
const PITCH: i32 = 26;
const HEAD: i32 = 34;
const TOP: i32 = 44;

/// A row with a speed.
pub type ModelRow<'a> = (&'a Row, &'a ModelDetail);

/// The rows that have a speed to draw.
pub fn model_rows(report: &Report) -> Result<Vec<ModelRow<'_>>> {
    let rows: Vec<_> = report.rows.iter().filter_map(speed_of).collect();
    if rows.is_empty() {
        return Err(Error::Plot(
            "the report has no model row with tokens per second to draw".into(),
        ));
    }
    Ok(rows)
}

fn speed_of(row: &Row) -> Option<ModelRow<'_>> {
    let Detail::Model(model) = &row.detail else {
        return None;
    };
    let stats = &row.stats;
    let finite = [stats.median, stats.min, stats.max, model.mean_cycles]
        .iter()
        .all(|figure| figure.is_finite());
    (row.unit == Unit::TokensPerSecond && finite && stats.median > 0.0).then_some((row, model))
}

/// A setting that may tell two rows apart, as written in a label.
type Setting = fn(&ModelDetail) -> String;

/// Besides the prompt, the tokens generated and the exit threshold.
const SETTINGS: [Setting; 6] = [
    |model| model.model.clone(),
    |model| model.kernels.clone(),
    |model| model.quant.clone(),
    |model| format!("kv {}", model.kv_type),
    |model| format!("cycles {}", model.cycles),
    |model| format!("exit kv {}", model.exit_kv),
];

/// The settings in which the rows differ, for each row.
pub fn differences(rows: &[ModelRow<'_>]) -> Vec<String> {
    let differing: Vec<Setting> = SETTINGS
        .into_iter()
        .filter(|setting| {
            rows.windows(2)
                .any(|pair| setting(pair[0].1) != setting(pair[1].1))
        })
        .collect();
    rows.iter()
        .map(|(_, model)| {
            let settings: Vec<_> = differing.iter().map(|setting| setting(model)).collect();
            settings.join(", ")
        })
        .collect()
}

/// The exit threshold as text; `none` where nothing exits.
pub fn threshold(model: &ModelDetail) -> String {
    match model.exit_threshold {
        Some(score) => score.to_string(),
        None => "none".into(),
    }
}

/// Bars, ready to draw.
pub struct Throughput<'a> {
    title: String,
    groups: Vec<Group<'a>>,
}

/// Bars on one scale: prompts are so much faster than generation that they need one apart.
struct Group<'a> {
    name: &'static str,
    colour: RGBColor,
    bars: Vec<(String, &'a Row)>,
}

impl<'a> Throughput<'a> {
    pub fn new(report: &'a Report) -> Result<Self> {
        let rows = model_rows(report)?;
        let labels = bar_labels(&rows);
        let mut groups = [
            ("Prompt", BLUE),
            ("Generation", GREEN),
            ("Prompt and generation", VERMILLION),
        ]
        .map(|(name, colour)| Group {
            name,
            colour,
            bars: Vec::new(),
        });
        for ((row, model), label) in rows.into_iter().zip(labels) {
            let group = match (model.n_prompt > 0, model.n_gen > 0) {
                (_, false) => 0,
                (false, true) => 1,
                (true, true) => 2,
            };
            groups[group].bars.push((label, row));
        }
        Ok(Self {
            title: format!("Speed: {}", adapter_name(&report.adapter)),
            groups: groups.into_iter().filter(|g| !g.bars.is_empty()).collect(),
        })
    }
}

impl Figure for Throughput<'_> {
    fn height(&self) -> u32 {
        let groups = self.groups.iter().map(Group::height);
        (TOP + groups.sum::<i32>() + 12) as u32
    }

    fn draw(&self, area: &Area<'_>) -> Result<()> {
        title(area, &self.title)?;
        let mut top = TOP;
        for group in &self.groups {
            group.draw(area, top)?;
            top += group.height();
        }
        Ok(())
    }
}

impl Group<'_> {
    fn height(&self) -> i32 {
        HEAD + PITCH * self.bars.len() as i32
    }

    fn draw(&self, area: &Area<'_>, top: i32) -> Result<()> {
        let greatest = self
            .bars
            .iter()
            .map(|(_, row)| row.stats.median.max(row.stats.max));
        let greatest = greatest.fold(f64::MIN_POSITIVE, f64::max);
        let heading = format!("{}, tokens/s", self.name);
        Pen::new(13.0)
            .bold()
            .write(area, &heading, (16, top + 14))?;
        Pen::new(11.0).colour(FAINT).right().write(
            area,
            "bar: median, line: min to max",
            (WIDTH as i32 - 16, top + 14),
        )?;
        let across =
            |value: f64| BARS_LEFT + (BARS_WIDTH * (value / greatest).clamp(0.0, 1.0)) as i32;
        for (index, (label, row)) in self.bars.iter().enumerate() {
            let y = top + HEAD + PITCH * index as i32 + PITCH / 2 - 4;
            let stats = &row.stats;
            let corners = [(BARS_LEFT, y - 8), (across(stats.median), y + 8)];
            area.draw(&Rectangle::new(corners, self.colour.mix(0.8).filled()))
                .map_err(plot_error)?;
            let ends = [(across(stats.min), y), (across(stats.max), y)];
            line(area, &ends, INK.stroke_width(2))?;
            Pen::new(12.0)
                .right()
                .write(area, &cut(label, 42), (BARS_LEFT - 10, y))?;
            let figure = number::significant(stats.median, 4);
            let end = across(stats.max.max(stats.median));
            Pen::new(12.0).bold().write(area, &figure, (end + 8, y))?;
        }
        Ok(())
    }
}

/// The names of the tests; where these are not enough, with the settings that tell rows apart.
fn bar_labels(rows: &[ModelRow<'_>]) -> Vec<String> {
    let differences = differences(rows);
    let several_thresholds = rows
        .windows(2)
        .any(|pair| pair[0].1.exit_threshold != pair[1].1.exit_threshold);
    rows.iter()
        .zip(differences)
        .map(|((row, model), difference)| {
            let namesakes = rows.iter().filter(|(other, _)| other.test == row.test);
            let mut label = row.test.clone();
            if namesakes.count() > 1 {
                if several_thresholds {
                    label.push_str(&format!(", exit {}", threshold(model)));
                }
                if !difference.is_empty() {
                    label.push_str(&format!(", {difference}"));
                }
            }
            label
        })
        .collect()
}
