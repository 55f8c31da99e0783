//! The scores as a map: position across, cycle down.

use serde::Serialize;

use crate::cli::trace::position::Position;
use crate::measure::number::short;

/// Shades that a score can have.
pub const N_SHADES: usize = 32;

/// As wide as the card, where the positions are few.
const MAP_WIDTH: usize = 700;
const COLUMN_WIDTHS: std::ops::RangeInclusive<usize> = 8..=36;
const ROW_HEIGHT: usize = 28;
/// The least room between the numbers of two positions.
const TICK_ROOM: usize = 44;

#[derive(Serialize)]
pub struct HeatMap {
    columns: usize,
    rows: usize,
    column_width: usize,
    row_height: usize,
    /// Of the cycles that ran.
    cells: Vec<Cell>,
    /// Positions whose number stands below the map.
    ticks: Vec<usize>,
    scale: Scale,
}

#[derive(Serialize)]
struct Cell {
    x: usize,
    y: usize,
    shade: usize,
}

/// The scale of the shades: scores from 0 to `top`.
#[derive(Serialize)]
pub struct Scale {
    pub top: f64,
    /// Both ends.
    marks: [Mark; 2],
    threshold: Option<Mark>,
}

/// A score on the scale.
#[derive(Serialize)]
struct Mark {
    /// How far along.
    percent: f64,
    text: String,
}

impl HeatMap {
    pub fn new(positions: &[Position], n_cycles: usize, threshold: Option<f64>) -> Self {
        let scale = Scale::new(positions, threshold);
        let n = positions.len().max(1);
        let column_width = (MAP_WIDTH / n).clamp(*COLUMN_WIDTHS.start(), *COLUMN_WIDTHS.end());
        Self {
            columns: n,
            rows: n_cycles,
            column_width,
            row_height: ROW_HEIGHT,
            cells: cells(positions, &scale),
            ticks: (0..n).step_by(tick_step(column_width)).collect(),
            scale,
        }
    }
}

fn cells(positions: &[Position], scale: &Scale) -> Vec<Cell> {
    let columns = positions.iter().enumerate();
    columns
        .flat_map(|(x, position)| {
            let scores = position.scores.iter().enumerate();
            scores.map(move |(y, &score)| Cell {
                x,
                y,
                shade: scale.shade(score.into()),
            })
        })
        .collect()
}

/// 1, 2, 5, 10, ...: the first whose numbers have room.
fn tick_step(column_width: usize) -> usize {
    let steps = [1, 2, 5, 10, 20, 50];
    let fits = |step: &usize| step * column_width >= TICK_ROOM;
    steps.into_iter().find(fits).unwrap_or(100)
}

impl Scale {
    fn new(positions: &[Position], threshold: Option<f64>) -> Self {
        let scores = positions.iter().flat_map(|p| &p.scores).copied();
        let greatest = scores.map(f64::from).fold(0.0, f64::max);
        // A threshold that no score can reach would leave the scale no room for the scores.
        let shown = threshold.filter(|t| (0.0..=1.0).contains(t));
        let top = round_up(greatest.max(shown.unwrap_or(0.0)));
        let mark = |score: f64| Mark {
            percent: 100.0 * score / top,
            text: short(score),
        };
        Self {
            top,
            marks: [mark(0.0), mark(top)],
            threshold: shown.map(mark),
        }
    }

    fn shade(&self, score: f64) -> usize {
        let share = (score / self.top).clamp(0.0, 1.0);
        ((share * N_SHADES as f64) as usize).min(N_SHADES - 1)
    }
}

/// To the next tenth, or for small scores the next hundredth, and so on; a score in single
/// precision that is meant to be 0.3 is just above it, and stays there.
fn round_up(score: f64) -> f64 {
    let mut parts = 10.0;
    while score > 0.0 && score * parts <= 0.5 && parts < 1e9 {
        parts *= 10.0;
    }
    (score * parts - 1e-6).ceil().max(1.0) / parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(scores: &[&[f32]]) -> Vec<Position> {
        let all = scores.iter().enumerate();
        all.map(|(position, scores)| Position {
            position,
            id: 0,
            text: None,
            cycles: scores.len(),
            scores: scores.to_vec(),
            top: Vec::new(),
            names: Vec::new(),
        })
        .collect()
    }

    #[test]
    fn only_cycles_that_ran_have_cells() {
        let map = HeatMap::new(&positions(&[&[0.1], &[0.05, 0.8, 0.75]]), 3, Some(0.4));
        assert_eq!((map.columns, map.rows, map.cells.len()), (2, 3, 4));
        assert_eq!(map.scale.top, 0.8);
        assert_eq!(map.cells[2].shade, N_SHADES - 1);
        assert_eq!(map.scale.threshold.unwrap().percent, 50.0);
    }

    #[test]
    fn thresholds_off_the_scale_are_not_marked() {
        for threshold in [None, Some(-1.0), Some(1.5)] {
            let map = HeatMap::new(&positions(&[&[0.3]]), 1, threshold);
            assert!(map.scale.threshold.is_none());
            assert_eq!(map.scale.top, 0.3);
        }
    }

    #[test]
    fn any_score_has_a_scale() {
        assert_eq!(round_up(0.0), 0.1);
        assert_eq!(round_up(0.021), 0.03);
        assert_eq!(round_up(0.93), 1.0);
        let map = HeatMap::new(&positions(&[&[0.0, f32::NAN]]), 2, Some(0.0));
        assert_eq!(map.cells[1].shade, 0);
        HeatMap::new(&[], 1, None);
    }

    #[test]
    fn numbers_have_room() {
        assert_eq!(tick_step(36), 2);
        assert_eq!(tick_step(8), 10);
    }
}
