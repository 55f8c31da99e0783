//! Whether output is coloured, and the colours that stand for a number of cycles.

use std::io::{self, StdoutLock};

use anstream::{AutoStream, ColorChoice};
use anstyle::{Ansi256Color, Style};

use super::args::named;

/// The values of `--color`, as in other tools.
const CHOICES: &[(&str, ColorChoice)] = &[
    ("auto", ColorChoice::Auto),
    ("always", ColorChoice::Always),
    ("never", ColorChoice::Never),
];

pub fn choice(text: &str) -> Result<ColorChoice, String> {
    named(text, CHOICES)
}

/// Standard output that takes colours, or drops them where `choice` and the terminal say so.
/// Nothing else in the output may steer the terminal.
pub fn stdout(choice: ColorChoice) -> AutoStream<StdoutLock<'static>> {
    AutoStream::new(io::stdout().lock(), choice)
}

/// Whether `out` keeps the colours that are written to it.
pub fn is_colored(out: &AutoStream<StdoutLock<'static>>) -> bool {
    out.current_choice() != ColorChoice::Never
}

/// Backgrounds from light to strong, and the text on them. Lightness falls from one to the next,
/// so that the order can be seen without telling the hues apart, and all of them stand out on a
/// black and on a white terminal.
const SCALE: [(u8, u8); 8] = [
    (229, BLACK),
    (222, BLACK),
    (215, BLACK),
    (209, BLACK),
    (168, BLACK),
    (126, WHITE),
    (91, WHITE),
    (55, WHITE),
];

const BLACK: u8 = 16;
const WHITE: u8 = 231;

/// The style of a position that ran `cycles` of `n_cycles`.
pub fn of_cycles(cycles: usize, n_cycles: usize) -> Style {
    let steps = n_cycles.saturating_sub(1).max(1);
    let step = cycles.saturating_sub(1).min(steps);
    let (back, text) = SCALE[(step * (SCALE.len() - 1) + steps / 2) / steps];
    Style::new()
        .bg_color(Some(Ansi256Color(back).into()))
        .fg_color(Some(Ansi256Color(text).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depths_have_colors_of_their_own() {
        for n in 1..=SCALE.len() {
            let mut styles: Vec<String> = (1..=n)
                .map(|c| of_cycles(c, n).render().to_string())
                .collect();
            styles.dedup();
            assert_eq!(styles.len(), n);
        }
    }

    #[test]
    fn the_scale_is_used_from_end_to_end() {
        for n in [2, 3, 8, 40] {
            assert!(of_cycles(1, n).render().to_string().contains(";229m"));
            assert!(of_cycles(n, n).render().to_string().contains(";55m"));
        }
        of_cycles(0, 0);
        of_cycles(9, 2);
    }
}
