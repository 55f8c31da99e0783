//! The roofline: the speed of kernels over their arithmetic intensity.

use plotters::prelude::*;

use super::axis::{Axis, Frame, has_logarithm};
use super::draw::{
    Area, BLUE, FAINT, GREEN, Marker, Pen, VERMILLION, WIDTH, cut, line, marker, text_width, title,
};
use super::place::Placer;
use super::roofs::{LABEL, Roofs};
use super::{Figure, adapter_name};
use crate::error::{Error, Result};
use crate::measure::number;
use crate::measure::report::{Detail, KernelDetail, Report};

const TABLE_LEFT: i32 = 604;
const TABLE_PITCH: i32 = 16;
const TABLE_TOP: i32 = 58;
const LEAST_HEIGHT: i32 = 560;
const NOTE_HEIGHT: i32 = 26;
/// The kernels of a report below the measured peaks, ready to draw.
pub struct Roofline<'a> {
    title: String,
    roofs: Roofs,
    sections: Vec<Section<'a>>,
    not_drawn: Vec<String>,
}

/// Kernels of one phase at one number of rows.
struct Section<'a> {
    phase: &'a str,
    n_rows: usize,
    kernels: Vec<&'a KernelDetail>,
}

impl<'a> Roofline<'a> {
    pub fn new(report: &'a Report) -> Result<Self> {
        let mut sections: Vec<Section<'a>> = Vec::new();
        let mut not_drawn = Vec::new();
        for kernel in report.rows.iter().filter_map(|row| kernel_of(&row.detail)) {
            if kernel.flops == 0 {
                not_drawn.push(format!("{} (no arithmetic)", kernel.role));
            } else if !has_logarithm(intensity(kernel)) || !has_logarithm(kernel.gflop_per_s) {
                not_drawn.push(format!("{} (no figure)", kernel.role));
            } else {
                section_for(&mut sections, kernel).kernels.push(kernel);
            }
        }
        if sections.is_empty() {
            return Err(Error::Plot(
                "the report has no kernel row with arithmetic to draw a roofline of".into(),
            ));
        }
        for section in &mut sections {
            // Numbers then run from left to right, so that neighbours have neighbouring numbers.
            section
                .kernels
                .sort_by(|a, b| intensity(a).total_cmp(&intensity(b)));
        }
        sections.sort_by_key(|section| (section.phase != "decode", section.n_rows));
        not_drawn.dedup();
        Ok(Self {
            title: format!("Roofline: {}", adapter_name(&report.adapter)),
            roofs: Roofs::new(&report.peaks),
            sections,
            not_drawn,
        })
    }

    /// Each kernel with its number and the style of its phase.
    fn numbered(&self) -> impl Iterator<Item = (usize, &KernelDetail, (RGBColor, Marker))> {
        self.sections
            .iter()
            .flat_map(|section| {
                let style = style_of(section.phase);
                section.kernels.iter().map(move |kernel| (*kernel, style))
            })
            .enumerate()
            .map(|(index, (kernel, style))| (index + 1, kernel, style))
    }

    /// The two axes, with room right of the ridges for the names of the roofs.
    fn axes(&self) -> (Axis, Axis) {
        let xs = self.numbered().map(|(_, kernel, _)| intensity(kernel));
        let ys = self.numbered().map(|(_, kernel, _)| kernel.gflop_per_s);
        (
            Axis::decimal(
                "arithmetic intensity, FLOP per byte",
                xs.chain(self.roofs.ridges().map(|ridge| 1.5 * ridge)),
                2.0,
            ),
            Axis::decimal("GFLOP/s", ys.chain(self.roofs.levels()), 2.0),
        )
    }

    fn draw_points(&self, area: &Area<'_>, frame: &Frame, placer: &mut Placer) -> Result<()> {
        let points: Vec<_> = self
            .numbered()
            .map(|(number, kernel, style)| {
                let at = frame.at(intensity(kernel).log10(), kernel.gflop_per_s.log10());
                (number, at, style)
            })
            .collect();
        for (_, at, _) in &points {
            placer.take(*at, 10, 10);
        }
        for (number, at, (colour, shape)) in points {
            let text = number.to_string();
            let place = placer.place(at, text_width(&text, LABEL) + 3, 12);
            if place.needs_leader {
                line(area, &[at, place.centre], colour.mix(0.5).stroke_width(1))?;
            }
            marker(area, shape, at, colour)?;
            Pen::new(LABEL).centre().write(area, &text, place.centre)?;
        }
        Ok(())
    }

    /// Draws the table of the kernels' numbers.
    fn draw_table(&self, area: &Area<'_>) -> Result<()> {
        let head = Pen::new(LABEL).colour(FAINT);
        table_line(area, head, TABLE_TOP, ["#", "role", "kernel", "of peak"])?;
        let mut y = TABLE_TOP;
        let mut numbered = self.numbered();
        for section in &self.sections {
            let (colour, shape) = style_of(section.phase);
            y += TABLE_PITCH + 4;
            marker(area, shape, (TABLE_LEFT + 5, y), colour)?;
            let rows = if section.n_rows == 1 { "row" } else { "rows" };
            let name = format!("{}, {} {rows}", section.phase, section.n_rows);
            Pen::new(12.0)
                .bold()
                .write(area, &name, (TABLE_LEFT + 16, y))?;
            for (number, kernel, _) in numbered.by_ref().take(section.kernels.len()) {
                y += TABLE_PITCH;
                let number = number.to_string();
                let of_peak = number::percent(kernel.percent_of_peak);
                let cells = [
                    &*number,
                    &cut(&kernel.role, 20),
                    &cut(&kernel.kernel, 26),
                    &of_peak,
                ];
                table_line(area, Pen::new(LABEL), y, cells)?;
            }
        }
        Ok(())
    }

    fn note(&self) -> Option<String> {
        let names = self.not_drawn.join(", ");
        (!names.is_empty()).then(|| cut(&format!("Not drawn: {names}"), 150))
    }
}

impl Figure for Roofline<'_> {
    fn height(&self) -> u32 {
        let kernels: usize = self.sections.iter().map(|s| s.kernels.len()).sum();
        let lines = (kernels + self.sections.len()) as i32;
        let table = TABLE_TOP + TABLE_PITCH * lines + 4 * self.sections.len() as i32 + 24;
        (table.max(LEAST_HEIGHT) + NOTE_HEIGHT) as u32
    }

    fn draw(&self, area: &Area<'_>) -> Result<()> {
        title(area, &self.title)?;
        let height = self.height() as i32 - NOTE_HEIGHT;
        let chart = area
            .clone()
            .shrink((0, 0), (TABLE_LEFT as u32 - 6, height as u32));
        let (x, y) = self.axes();
        let frame = Frame::draw(&chart, x, y, 44)?;
        let mut placer = Placer::new(frame.across.clone(), frame.down.clone());
        self.roofs.draw(area, &frame, &mut placer)?;
        self.draw_points(area, &frame, &mut placer)?;
        self.draw_table(area)?;
        match self.note() {
            Some(note) => Pen::new(12.0)
                .colour(FAINT)
                .write(area, &note, (16, height + 8)),
            None => Ok(()),
        }
    }
}

fn kernel_of(detail: &Detail) -> Option<&KernelDetail> {
    match detail {
        Detail::Kernel(kernel) => Some(kernel),
        _ => None,
    }
}

/// Infinite for a kernel that moves nothing.
fn intensity(kernel: &KernelDetail) -> f64 {
    kernel.flops as f64 / kernel.bytes as f64
}

fn section_for<'s, 'a>(
    sections: &'s mut Vec<Section<'a>>,
    kernel: &'a KernelDetail,
) -> &'s mut Section<'a> {
    let same = |s: &Section<'_>| s.phase == kernel.phase && s.n_rows == kernel.n_rows;
    let index = sections.iter().position(same).unwrap_or_else(|| {
        sections.push(Section {
            phase: &kernel.phase,
            n_rows: kernel.n_rows,
            kernels: Vec::new(),
        });
        sections.len() - 1
    });
    &mut sections[index]
}

fn style_of(phase: &str) -> (RGBColor, Marker) {
    match phase {
        "decode" => (BLUE, Marker::Circle),
        "prefill" => (VERMILLION, Marker::Square),
        _ => (GREEN, Marker::Triangle),
    }
}

fn table_line(area: &Area<'_>, pen: Pen, y: i32, cells: [&str; 4]) -> Result<()> {
    let [number, role, kernel, of_peak] = cells;
    pen.right().write(area, number, (TABLE_LEFT + 22, y))?;
    pen.write(area, role, (TABLE_LEFT + 32, y))?;
    pen.write(area, kernel, (TABLE_LEFT + 162, y))?;
    pen.right().write(area, of_peak, (WIDTH as i32 - 16, y))
}
