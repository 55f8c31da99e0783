//! Writing data to standard output and to files.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::printable::{self, PrintableJson};
use super::stdout::Stdout;
use crate::measure::formats::Format;

/// Writes one JSON document on a line of its own, and flushes it.
pub fn json_line(out: &mut impl Write, value: &impl Serialize) -> Result<()> {
    let mut line = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(
        &mut line,
        PrintableJson,
    ))?;
    line.push(b'\n');
    write(out, &line)
}

/// Writes text, and flushes it.
pub fn text(out: &mut impl Write, text: &str) -> Result<()> {
    write(out, text.as_bytes())
}

/// Writes what people read, on a terminal or through a pipe: nothing in it steers a terminal.
pub fn for_people(text: &str) -> Result<()> {
    write(&mut stdout(), printable::lines(text).as_bytes())
}

/// Writes a report in one of its formats.
pub fn report(format: Format, report: &str) -> Result<()> {
    match format {
        Format::Markdown => for_people(report),
        Format::Csv | Format::Json | Format::JsonLines => text(&mut stdout(), report),
    }
}

fn write(out: &mut impl Write, bytes: &[u8]) -> Result<()> {
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .context("standard output")
}

/// Standard output, locked once.
pub fn stdout() -> Stdout {
    Stdout::lock()
}

/// Refuses a file that cannot be written, before there is anything to write.
pub fn check_file(file: &Path) -> Result<()> {
    let is_new = file.symlink_metadata().is_err();
    let opened = fs::OpenOptions::new().append(true).create(true).open(file);
    opened.with_context(|| format!("`{}`", file.display()))?;
    // What is not written in the end should not be there, empty.
    if is_new {
        fs::remove_file(file).with_context(|| format!("`{}`", file.display()))?;
    }
    Ok(())
}

/// Writes a whole file.
pub fn write_file(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("`{}`", file.display()))
}

/// A number of bytes for people, in binary units.
pub fn bytes(n: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{n} B"),
        _ => format!("{value:.1} {}", units[unit]),
    }
}
