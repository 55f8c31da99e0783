//! The table of promises in a document: what each kernel's pipelines may take on each card.
//!
//! Its first column names a kernel, and constants if the row is for pipelines with these alone.
//! The others hold one value for all cards, or one for each with slashes between them; `-` promises
//! nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::cards::CARDS;
use crate::input::Constants;

const COLUMNS: [&str; 6] = [
    "kernel",
    "VGPRs",
    "occupancy",
    "code bytes",
    "fetched",
    "narrow loads",
];

/// A column's values, one a card.
pub type Column = [Option<f64>; CARDS.len()];

/// A row of the table.
#[derive(Debug)]
pub struct Promise {
    kernel: String,
    constants: BTreeMap<String, f64>,
    /// At most.
    pub vgprs: Column,
    /// At least.
    pub occupancy: Column,
    /// At most.
    pub code_bytes: Column,
    /// At most, per byte of weights.
    pub fetched: Column,
    /// At most.
    pub narrow_loads: Column,
}

impl Promise {
    /// The row's first cell.
    pub fn name(&self) -> String {
        let constants = self.constants.iter();
        let constants = constants.map(|(name, value)| format!(" {name}={value}"));
        std::iter::once(self.kernel.clone())
            .chain(constants)
            .collect()
    }

    fn fits(&self, kernel: &str, constants: &Constants) -> bool {
        let has = |(name, value): (&String, &f64)| {
            constants.get(name).and_then(|v| v.as_f64()) == Some(*value)
        };
        self.kernel == kernel && self.constants.iter().all(has)
    }
}

/// The rows of one document.
#[derive(Debug)]
pub struct Promises {
    pub rows: Vec<Promise>,
}

impl Promises {
    pub fn read(document: &Path) -> Result<Self> {
        let text = fs::read_to_string(document);
        let text = text.with_context(|| format!("`{}`", document.display()))?;
        Self::parse(&text).with_context(|| format!("the table of `{}`", document.display()))
    }

    pub fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines().skip_while(|line| !is_header(line));
        let header = lines.next().context("there is none")?;
        let found = cells(header);
        ensure!(found == COLUMNS, "expected {COLUMNS:?}, found {found:?}");
        let rows: Vec<_> = lines
            .skip(1)
            .take_while(|line| line.starts_with('|'))
            .map(|line| row(line).with_context(|| format!("row `{line}`")))
            .collect::<Result<_>>()?;
        for (i, row) in rows.iter().enumerate() {
            let again = rows[..i].iter().any(|r| r.name() == row.name());
            ensure!(!again, "two rows are for `{}`", row.name());
        }
        Ok(Self { rows })
    }

    /// The row with the most constants of those that fit a pipeline.
    pub fn of(&self, kernel: &str, constants: &Constants) -> Result<Option<usize>> {
        let fitting = (0..self.rows.len()).filter(|&i| self.rows[i].fits(kernel, constants));
        let mut best: Vec<usize> = fitting.collect();
        let n_constants = |&i: &usize| self.rows[i].constants.len();
        let most = best.iter().map(n_constants).max();
        best.retain(|i| Some(n_constants(i)) == most);
        if let [one, other, ..] = best[..] {
            let names = (self.rows[one].name(), self.rows[other].name());
            bail!("rows `{}` and `{}` both fit", names.0, names.1);
        }
        Ok(best.first().copied())
    }
}

fn is_header(line: &str) -> bool {
    line.starts_with('|') && cells(line).first() == Some(&COLUMNS[0])
}

fn cells(line: &str) -> Vec<&str> {
    let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
    inner.split('|').map(str::trim).collect()
}

fn row(line: &str) -> Result<Promise> {
    let cells = cells(line);
    let n = cells.len();
    let [name, vgprs, occupancy, code_bytes, fetched, narrow_loads] = cells[..] else {
        bail!("expected {} cells, found {n}", COLUMNS.len());
    };
    let mut words = name.trim_matches('`').split_whitespace();
    let kernel = words.next().context("no kernel is named")?.to_string();
    Ok(Promise {
        kernel,
        constants: words.map(constant).collect::<Result<_>>()?,
        vgprs: column(vgprs)?,
        occupancy: column(occupancy)?,
        code_bytes: column(code_bytes)?,
        fetched: column(fetched)?,
        narrow_loads: column(narrow_loads)?,
    })
}

fn constant(word: &str) -> Result<(String, f64)> {
    let pair = word.split_once('=');
    let (name, value) = pair.with_context(|| format!("expected NAME=VALUE, found `{word}`"))?;
    Ok((name.to_string(), number(value)?))
}

fn column(cell: &str) -> Result<Column> {
    let values: Vec<_> = cell
        .split('/')
        .map(|value| match value.trim() {
            "-" => Ok(None),
            value => number(value).map(Some),
        })
        .collect::<Result<_>>()?;
    match values[..] {
        [value] => Ok([value; CARDS.len()]),
        _ => Column::try_from(values).map_err(|values| {
            let n = values.len();
            anyhow::anyhow!("expected one value or {}, found {n}", CARDS.len())
        }),
    }
}

fn number(text: &str) -> Result<f64> {
    let digits = text.replace(',', "");
    let value = digits.parse();
    value.with_context(|| format!("expected a number, found `{text}`"))
}

#[cfg(test)]
mod tests;
