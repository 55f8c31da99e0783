//! Finds room for the labels of crowded points.

use std::ops::Range;

use super::draw::Point;

#[derive(Clone, Copy)]
struct Rectangle {
    left: i32,
    top: i32,
    right: i32,
    bottom: i32,
}

impl Rectangle {
    fn around(centre: Point, width: i32, height: i32) -> Self {
        Self {
            left: centre.0 - width / 2,
            top: centre.1 - height / 2,
            right: centre.0 + width / 2,
            bottom: centre.1 + height / 2,
        }
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }
}

/// Where a label found room.
pub struct Place {
    pub centre: Point,
    /// Whether the label is so far from its point that a line should join the two.
    pub needs_leader: bool,
}

/// Finds places for labels, and knows the pixels that are taken already.
pub struct Placer {
    across: Range<i32>,
    down: Range<i32>,
    taken: Vec<Rectangle>,
}

impl Placer {
    /// Labels stay within these pixels.
    pub fn new(across: Range<i32>, down: Range<i32>) -> Self {
        Self {
            across,
            down,
            taken: Vec::new(),
        }
    }

    pub fn take(&mut self, centre: Point, width: i32, height: i32) {
        self.taken.push(Rectangle::around(centre, width, height));
    }

    /// Keeps labels off a straight line.
    pub fn take_line(&mut self, from: Point, to: Point) {
        let steps = (to.0 - from.0).abs().max((to.1 - from.1).abs()) / 4;
        for step in 0..=steps {
            let along = |a: i32, b: i32| a + (b - a) * step / steps.max(1);
            self.take((along(from.0, to.0), along(from.1, to.1)), 4, 4);
        }
    }

    /// The nearest free place for a label beside the point; straight above it if all is taken.
    pub fn place(&mut self, point: Point, width: i32, height: i32) -> Place {
        const DIRECTIONS: i32 = 16;
        const RINGS: i32 = 9;
        let free = (0..RINGS).find_map(|ring| {
            (0..DIRECTIONS)
                .map(|direction| beside(point, direction, ring, (width, height)))
                .find(|centre| self.is_free(&Rectangle::around(*centre, width, height)))
                .map(|centre| (centre, ring > 0))
        });
        let (centre, needs_leader) =
            free.unwrap_or_else(|| (beside(point, 4, 0, (width, height)), false));
        self.take(centre, width, height);
        if needs_leader {
            self.take_line(point, centre);
        }
        Place {
            centre,
            needs_leader,
        }
    }

    fn is_free(&self, label: &Rectangle) -> bool {
        label.left >= self.across.start
            && label.right <= self.across.end
            && label.top >= self.down.start
            && label.bottom <= self.down.end
            && !self.taken.iter().any(|other| other.overlaps(label))
    }
}

/// The centre of a label on a ring about the point, counted against the clock from the right.
fn beside(point: Point, direction: i32, ring: i32, (width, height): (i32, i32)) -> Point {
    let angle = f64::from(direction) * std::f64::consts::TAU / 16.0;
    let gap = f64::from(6 + 9 * ring);
    let offset = |half: i32, part: f64| ((f64::from(half) / 2.0 + gap) * part).round() as i32;
    (
        point.0 + offset(width, angle.cos()),
        point.1 - offset(height, angle.sin()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_one_point_stay_apart() {
        let mut placer = Placer::new(0..200, 0..200);
        placer.take((100, 100), 10, 10);
        let centres: Vec<Point> = (0..20)
            .map(|_| placer.place((100, 100), 14, 12).centre)
            .collect();
        for (i, a) in centres.iter().enumerate() {
            for b in &centres[..i] {
                assert!((a.0 - b.0).abs() >= 14 || (a.1 - b.1).abs() >= 12);
            }
        }
    }
}
