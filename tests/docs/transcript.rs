//! Whether a command printed the lines that a document shows.

use anyhow::{Result, ensure};

/// Stands for any text within a line, or alone for any lines.
const ANYTHING: &str = "…";

/// Units of figures that differ from run to run.
const RATES: [&str; 2] = [" tokens/s", " s"];

/// Whether `found` is `expected`, but for adapters, seeds, rates and times.
pub fn agree(expected: &str, found: &str) -> bool {
    let (expected, found) = (normal(expected), normal(found));
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    lines_agree(&expected, &found)
}

fn lines_agree(expected: &[&str], found: &[&str]) -> bool {
    match (expected, found) {
        ([], []) => true,
        ([first, rest @ ..], _) if *first == ANYTHING => {
            (0..=found.len()).any(|n| lines_agree(rest, &found[n..]))
        }
        ([e, expected @ ..], [f, found @ ..]) => line_agrees(e, f) && lines_agree(expected, found),
        _ => false,
    }
}

fn line_agrees(expected: &str, found: &str) -> bool {
    let Some((before, after)) = expected.split_once(ANYTHING) else {
        return expected == found;
    };
    let Some(rest) = found.strip_prefix(before) else {
        return false;
    };
    let starts = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    starts.into_iter().any(|at| line_agrees(after, &rest[at..]))
}

/// The lines without what differs from run to run, and without empty ones at the end.
fn normal(text: &str) -> Vec<String> {
    let mut has_rates = false;
    let lines = text.replace('\r', "");
    let mut lines: Vec<String> = lines
        .lines()
        .map(|line| {
            let line = line.trim_end();
            if line.starts_with('|') {
                has_rates |= line.ends_with("| t/s |");
                return if has_rates {
                    without_last_cell(line)
                } else {
                    line.to_string()
                };
            }
            has_rates = false;
            for word in ["adapter  ", "seed     "] {
                if line.starts_with(word) {
                    return word.to_string();
                }
            }
            RATES
                .iter()
                .fold(line.to_string(), |line, unit| without_figures(&line, unit))
        })
        .collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

/// A line of a table but for its last cell.
fn without_last_cell(line: &str) -> String {
    let line = line.trim_end_matches([' ', '|']);
    line.rsplit_once('|')
        .map_or(line, |(rest, _)| rest)
        .to_string()
}

/// Figures before `unit`, where a word ends after it, become `#`.
fn without_figures(line: &str, unit: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once(unit) {
        let figure = before.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        let ends = !after.starts_with(|c: char| c.is_alphanumeric() || c == '/');
        let is_figure = ends && figure.len() < before.len();
        out += if is_figure { figure } else { before };
        out += if is_figure { "#" } else { "" };
        out += unit;
        rest = after;
    }
    out + rest
}

/// Results that agree and results that do not.
pub fn check_itself() -> Result<()> {
    let shown = "adapter  a\n\n4 tokens, 2.5 tokens/s, after 0.10 s\n| a | t/s |\n| 1 | 2 |\n";
    let other = "adapter  b\n\n4 tokens, 31 tokens/s, after 2.00 s\n| a | t/s |\n| 1 | 9 |\n\n";
    ensure!(agree(shown, other));
    for wrong in [
        shown.replace("4 tokens", "5 tokens"),
        shown.replace("| 1 ", "| 3 "),
        shown.replace("\n\n", "\n"),
        shown.to_string() + "more",
        String::new(),
    ] {
        ensure!(!agree(shown, &wrong), "{wrong}");
    }
    ensure!(agree("a…c\n…\nz", "abc\n1\n2\nz") && agree("…\nz", "z"));
    ensure!(!agree("a…c", "abd") && !agree("…\nz", "y"));
    Ok(())
}
