//! A trace for people: the text in the colours of its cycles, and a line a position.

use std::fmt::Write;

use anstyle::Style;

use super::flow::harmless;
use super::position::{Position, counts, token_name};
use crate::cli::color;

/// The text, each piece in the colour of the cycles its position ran, and a legend below.
pub fn flow(positions: &[Position], pieces: &[String], n_cycles: usize) -> String {
    let mut text = String::new();
    for (position, piece) in positions.iter().zip(pieces) {
        let style = color::of_cycles(position.cycles, n_cycles);
        paint(&mut text, &harmless(piece), style);
    }
    let legend = legend(&counts(positions, n_cycles));
    format!("{text}\n\n{legend}\n\n")
}

/// Colours no line break, which would colour the rest of the terminal's line.
fn paint(out: &mut String, piece: &str, style: Style) {
    for (i, line) in piece.split('\n').enumerate() {
        if i > 0 {
            out.push('\n');
        }
        if !line.is_empty() {
            let _ = write!(out, "{style}{line}{style:#}");
        }
    }
}

/// The colours, with how many positions have each.
fn legend(counts: &[usize]) -> String {
    let total = counts.iter().sum::<usize>().max(1);
    let shown: Vec<String> = (1..)
        .zip(counts)
        .map(|(cycles, n)| {
            let style = color::of_cycles(cycles, counts.len());
            let share = 100.0 * *n as f64 / total as f64;
            format!("{style} {cycles} {style:#} {n} ({share:.0} %)")
        })
        .collect();
    format!("cycles {}", shown.join("  "))
}

/// A line: position, token, cycles, scores, likeliest next tokens. `style` is the token's.
pub fn line(position: &Position, style: Style) -> String {
    let scores: Vec<_> = position.scores.iter().map(|s| format!("{s:.3}")).collect();
    let next = position.top.iter().zip(&position.names);
    let next: Vec<_> = next
        .map(|((_, logit), name)| format!("{name} {logit:.2}"))
        .collect();
    let name = token_name(position.id, position.text.as_deref());
    let padding = 14_usize.saturating_sub(name.chars().count());
    format!(
        "{:>5}  {style}{name}{style:#}{:padding$}  cycles {}  scores {:<21}  next {}\n",
        position.position,
        "",
        position.cycles,
        match scores.is_empty() {
            true => "-".to_string(),
            false => scores.join(" "),
        },
        next.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(cycles: usize) -> Position {
        Position {
            position: 3,
            id: 7,
            text: Some("a\n".to_string()),
            cycles,
            scores: vec![0.5],
            top: vec![(9, 1.25)],
            names: vec!["9".to_string()],
        }
    }

    #[test]
    fn a_line_without_style_is_plain() {
        let line = line(&position(1), Style::new());
        let expected =
            "    3  \"a\\n\"           cycles 1  scores 0.500                  next 9 1.25\n";
        assert_eq!(line, expected);
    }

    #[test]
    fn line_breaks_have_no_color() {
        let pieces = ["a\n".to_string(), "\n\u{1b}b".to_string()];
        let text = flow(&[position(1), position(2)], &pieces, 2);
        assert!(text.contains("\u{1b}[0m\n\n\u{1b}["), "{text:?}");
        assert!(text.contains("m\\u{1b}b\u{1b}[0m"), "{text:?}");
        assert_eq!(
            anstream::adapter::strip_str(&text)
                .to_string()
                .lines()
                .count(),
            6
        );
    }
}
