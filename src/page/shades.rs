//! Scales of colour, each for a light and for a dark page.

use serde::Serialize;

type Rgb = [u8; 3];

/// Colours from low to high that a scale goes through. Lightness goes one way only, so that the
/// order shows without telling the hues apart; high stands out from the page.
pub struct Scale {
    light: [Rgb; 4],
    dark: [Rgb; 4],
}

/// The scale for cycles.
pub const DEPTH: Scale = Scale {
    light: [
        [255, 243, 176],
        [253, 184, 99],
        [214, 84, 118],
        [94, 32, 140],
    ],
    dark: [[64, 54, 20], [122, 70, 22], [190, 82, 112], [222, 160, 255]],
};

/// The scale for scores.
pub const SCORE: Scale = Scale {
    light: [
        [231, 240, 248],
        [150, 198, 226],
        [44, 123, 185],
        [8, 44, 100],
    ],
    dark: [[32, 46, 58], [24, 88, 136], [82, 162, 216], [216, 238, 255]],
};

/// One step of a scale.
#[derive(Serialize)]
pub struct Shade {
    light: Paint,
    dark: Paint,
}

/// A background, and the text that can be read on it.
#[derive(Serialize)]
struct Paint {
    back: String,
    ink: &'static str,
}

impl Scale {
    /// `n` steps from low to high.
    pub fn steps(&self, n: usize) -> Vec<Shade> {
        let last = n.saturating_sub(1).max(1) as f64;
        (0..n)
            .map(|i| Shade {
                light: Paint::on(between(&self.light, i as f64 / last)),
                dark: Paint::on(between(&self.dark, i as f64 / last)),
            })
            .collect()
    }
}

/// The colour at `share` of the way through `stops`.
fn between(stops: &[Rgb; 4], share: f64) -> Rgb {
    let at = share.clamp(0.0, 1.0) * 3.0;
    let from = (at as usize).min(2);
    let rest = at - from as f64;
    let mix = |i: usize| {
        let (a, b) = (f64::from(stops[from][i]), f64::from(stops[from + 1][i]));
        (a + (b - a) * rest).round() as u8
    };
    [mix(0), mix(1), mix(2)]
}

const DARK_INK: Rgb = [20, 23, 26];
const LIGHT_INK: Rgb = [255, 255, 255];

impl Paint {
    fn on(back: Rgb) -> Self {
        let dark_is_better = contrast(back, DARK_INK) >= contrast(back, LIGHT_INK);
        Self {
            back: hex(back),
            ink: if dark_is_better { "#14171a" } else { "#ffffff" },
        }
    }
}

fn hex([r, g, b]: Rgb) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// The contrast of two colours as WCAG 2 defines it, from 1 to 21.
fn contrast(a: Rgb, b: Rgb) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

fn luminance(rgb: Rgb) -> f64 {
    let linear = rgb.map(|v| {
        let v = f64::from(v) / 255.0;
        match v <= 0.04045 {
            true => v / 12.92,
            false => ((v + 0.055) / 1.055).powf(2.4),
        }
    });
    0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lightness_goes_one_way() {
        for scale in [DEPTH, SCORE] {
            let at = |stops: &[Rgb; 4], i: u8| luminance(between(stops, f64::from(i) / 40.0));
            for i in 1..=40 {
                assert!(at(&scale.light, i) < at(&scale.light, i - 1), "light {i}");
                assert!(at(&scale.dark, i) > at(&scale.dark, i - 1), "dark {i}");
            }
        }
    }

    #[test]
    fn text_can_be_read_on_every_depth() {
        for i in 0..=40 {
            for stops in [&DEPTH.light, &DEPTH.dark] {
                let back = between(stops, f64::from(i) / 40.0);
                let best = contrast(back, DARK_INK).max(contrast(back, LIGHT_INK));
                assert!(best >= 4.0, "{back:?}: {best}");
            }
        }
    }

    #[test]
    fn ends_are_reached() {
        let steps = SCORE.steps(5);
        assert_eq!(steps.len(), 5);
        assert_eq!(steps[0].light.back, hex(SCORE.light[0]));
        assert_eq!(steps[4].dark.back, hex(SCORE.dark[3]));
        assert_eq!(DEPTH.steps(1)[0].light.back, hex(DEPTH.light[0]));
    }
}
