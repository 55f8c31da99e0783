//! Writing data to standard output and to files.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use super::printable::{self, PrintableJson};
use super::stdout::Stdout;
use crate::error::Error;
use crate::files::{self, FileId};
use crate::measure::formats::Format;
use crate::model::Model;

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

/// Writes text for people, on a terminal or through a pipe: nothing in it steers a terminal.
pub fn for_people(text: &str) -> Result<()> {
    write(&mut stdout(), printable::lines(text).as_bytes())
}

/// Writes a report in one of its formats.
pub fn report(format: Format, report: &str) -> Result<()> {
    match format {
        Format::Table | Format::Markdown => for_people(report),
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

/// Refuses files that cannot be written, that are one file, or that the model is read from, before
/// there is anything to write.
pub fn check_files<'p>(
    outputs: impl IntoIterator<Item = &'p PathBuf>,
    model: Option<&Model>,
) -> Result<()> {
    let mut before: Vec<&Path> = Vec::new();
    for file in outputs {
        if let Some(model) = model {
            model.check_output(file)?;
        }
        files::check(file)?;
        check_others(
            file,
            before.iter().copied(),
            "a file to write for each output",
        )?;
        before.push(file);
    }
    Ok(())
}

/// Refuses to write a file that is also one of `others`.
pub fn check_others<'p>(
    file: &Path,
    others: impl IntoIterator<Item = &'p Path>,
    expected: &str,
) -> Result<()> {
    // An existing file is compared by its identity, not by its name; a new one by where it will be.
    // Outputs that are written piece by piece, such as a terminal, may be given twice.
    let is_plain = !file.exists() || file.is_file();
    let same = |other: &Path| match (FileId::of(file), FileId::of(other)) {
        (Ok(file), Ok(other)) => file == other,
        _ => {
            let destination = files::destination(file);
            file == other || destination.is_some() && destination == files::destination(other)
        }
    };
    match others.into_iter().find(|other| is_plain && same(other)) {
        None => Ok(()),
        Some(other) => {
            let found = format!("`{}` once more", other.display());
            Err(Error::file(file.display().to_string(), expected, found).into())
        }
    }
}

/// Writes a whole file.
pub fn write_file(file: &Path, text: &str) -> Result<()> {
    Ok(files::write(file, text.as_bytes())?)
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
