//! The elements of the figures: colours, markers, texts. Positions are pixels of the area drawn on.

use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::error::{Error, Result};

pub const WIDTH: u32 = 1000;

// The palette of Okabe and Ito, which the colour-blind can tell apart.
pub const BLUE: RGBColor = RGBColor(0x00, 0x72, 0xb2);
pub const VERMILLION: RGBColor = RGBColor(0xd5, 0x5e, 0x00);
pub const GREEN: RGBColor = RGBColor(0x00, 0x9e, 0x73);
pub const PURPLE: RGBColor = RGBColor(0xcc, 0x79, 0xa7);
pub const ORANGE: RGBColor = RGBColor(0xe6, 0x9f, 0x00);
pub const SKY: RGBColor = RGBColor(0x56, 0xb4, 0xe9);
pub const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
pub const FAINT: RGBColor = RGBColor(0x66, 0x66, 0x66);

pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub type Point = (i32, i32);

/// Tells series apart where colour does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    Circle,
    Square,
    Triangle,
    Diamond,
}

impl Marker {
    pub const ALL: [Marker; 4] = [
        Marker::Circle,
        Marker::Square,
        Marker::Triangle,
        Marker::Diamond,
    ];
}

pub fn plot_error(cause: impl std::fmt::Display) -> Error {
    Error::Plot(format!("cannot draw the plot: {cause}"))
}

/// Writing of one kind: its size, its colour and the meaning of its position.
#[derive(Clone, Copy)]
pub struct Pen {
    size: f64,
    colour: RGBColor,
    bold: bool,
    across: HPos,
    down: VPos,
}

impl Pen {
    /// Left-aligned, centred on its line.
    pub fn new(size: f64) -> Self {
        Self {
            size,
            colour: INK,
            bold: false,
            across: HPos::Left,
            down: VPos::Center,
        }
    }

    pub fn colour(self, colour: RGBColor) -> Self {
        Self { colour, ..self }
    }

    pub fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    pub fn right(self) -> Self {
        Self {
            across: HPos::Right,
            ..self
        }
    }

    pub fn centre(self) -> Self {
        Self {
            across: HPos::Center,
            ..self
        }
    }

    pub fn write(self, area: &Area<'_>, text: &str, at: Point) -> Result<()> {
        let style = if self.bold {
            FontStyle::Bold
        } else {
            FontStyle::Normal
        };
        let text_style = (FontFamily::SansSerif, font_size(self.size), style)
            .into_text_style(area)
            .color(&self.colour)
            .pos(Pos::new(self.across, self.down));
        area.draw_text(text, &text_style, at).map_err(plot_error)
    }
}

/// The font size to give to plotters for letters of `pixels`: its SVG divides font sizes by 1.24.
pub fn font_size(pixels: f64) -> f64 {
    pixels * 1.24
}

/// Roughly the width of a text: the SVG leaves the choice of the font to whoever shows it.
pub fn text_width(text: &str, size: f64) -> i32 {
    (text.chars().count() as f64 * size * 0.56).ceil() as i32
}

/// At most `length` characters of the text.
pub fn cut(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.into();
    }
    let kept: String = text.chars().take(length.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

pub fn title(area: &Area<'_>, text: &str) -> Result<()> {
    Pen::new(18.0).bold().write(area, text, (16, 22))
}

pub fn line(area: &Area<'_>, points: &[Point], style: ShapeStyle) -> Result<()> {
    area.draw(&PathElement::new(points.to_vec(), style))
        .map_err(plot_error)
}

pub fn dashed(area: &Area<'_>, points: &[Point], dash: i32, style: ShapeStyle) -> Result<()> {
    let path = DashedPathElement::new(points.iter().copied(), dash, dash, style);
    area.draw(&path).map_err(plot_error)
}

/// A vertical line with caps: from the least to the greatest of the samples.
pub fn whisker(area: &Area<'_>, from: Point, to: Point, colour: RGBColor) -> Result<()> {
    let style = colour.mix(0.7).stroke_width(1);
    line(area, &[from, to], style)?;
    for (x, y) in [from, to] {
        line(area, &[(x - 3, y), (x + 3, y)], style)?;
    }
    Ok(())
}

pub fn marker(area: &Area<'_>, kind: Marker, at: Point, colour: RGBColor) -> Result<()> {
    let fill = colour.mix(0.85).filled();
    let corners = |offsets: &[Point]| {
        let points: Vec<Point> = offsets.iter().map(|o| (at.0 + o.0, at.1 + o.1)).collect();
        area.draw(&Polygon::new(points, fill))
    };
    match kind {
        Marker::Circle => area.draw(&Circle::new(at, 4, fill)),
        Marker::Square => corners(&[(-4, -4), (4, -4), (4, 4), (-4, 4)]),
        Marker::Triangle => corners(&[(0, -5), (5, 4), (-5, 4)]),
        Marker::Diamond => corners(&[(0, -6), (5, 0), (0, 6), (-5, 0)]),
    }
    .map_err(plot_error)
}
