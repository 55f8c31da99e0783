//! Standard error: messages beside the data.
//!
//! It may be closed, full, or a terminal that has hung up. Nothing of the result depends on it, so
//! text that cannot be written there is dropped: `eprintln!` would panic.

use std::io::{self, Write};

use super::printable;

/// Writes one line.
pub fn line(text: impl AsRef<str>) {
    write(format!("{}\n", printable::one_line(text.as_ref())));
}

/// Writes lines, each with its end.
pub fn text(text: impl AsRef<str>) {
    write(printable::lines(text.as_ref()));
}

/// Writes a line for each name and its value.
pub fn facts(facts: &[(&str, &str)]) {
    let lines = facts
        .iter()
        .map(|(name, fact)| format!("{name:<8} {}\n", printable::one_line(fact)));
    write(lines.collect::<String>());
}

/// In one piece, so that threads do not mix their lines.
fn write(text: impl AsRef<str>) {
    let _ = io::stderr().write_all(text.as_ref().as_bytes());
}
