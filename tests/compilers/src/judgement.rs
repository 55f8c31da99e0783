//! Reports against promises.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::Result;

use crate::cards::{CARDS, Results};
use crate::input::with_constants;
use crate::promises::{Column, Promises};
use crate::report::Report;

/// What a fault is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Spill,
    Scratch,
    /// There is no report.
    Failure,
    Vgprs,
    Occupancy,
    CodeBytes,
    Fetched,
    NarrowLoads,
    /// The loop is another one than the host describes.
    Loop,
    NoRow,
    UnusedRow,
}

/// One broken promise.
#[derive(Debug)]
pub struct Fault {
    pub kind: Kind,
    /// The card and the pipeline, or the row.
    pub subject: String,
    pub card: String,
    text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "{}: `{}`: {}", self.card, self.subject, self.text)
    }
}

/// Ratios in the table have two decimals.
const ROUNDING: f64 = 0.005;

/// Collects the faults of all cards.
pub struct Judge<'a> {
    promises: &'a Promises,
    used: BTreeSet<usize>,
    pub faults: Vec<Fault>,
}

impl<'a> Judge<'a> {
    pub fn new(promises: &'a Promises) -> Self {
        Self {
            promises,
            used: BTreeSet::new(),
            faults: Vec::new(),
        }
    }

    /// Judges all that one card was given.
    pub fn card(&mut self, card: &str, results: &Results) -> Result<()> {
        for (pipeline, why) in &results.failures {
            self.used
                .extend(self.promises.of(&pipeline.kernel, &pipeline.constants)?);
            let text = format!("promised to compile, found that {why}");
            self.push(Kind::Failure, card, pipeline.name(), text);
        }
        for report in &results.reports {
            self.report(report)?;
        }
        Ok(())
    }

    /// Rows that no pipeline of any card was judged by.
    pub fn unused_rows(&mut self) {
        let promises = self.promises;
        for (i, row) in promises.rows.iter().enumerate() {
            if !self.used.contains(&i) {
                let text =
                    "docs/compilers.md has a row for it, but there is no pipeline".to_string();
                self.push(Kind::UnusedRow, "all cards", row.name(), text);
            }
        }
    }

    fn report(&mut self, report: &Report) -> Result<()> {
        let zero = [Some(0.0); CARDS.len()];
        let (spilled, scratch) = (report.spilled as f64, report.scratch as f64);
        self.at_most(report, Kind::Spill, "spilled registers", &zero, spilled);
        let unit = "bytes of scratch memory a subgroup";
        self.at_most(report, Kind::Scratch, unit, &zero, scratch);
        self.loop_of_host(report);
        let promises = self.promises;
        let Some(i) = promises.of(&report.kernel, &report.constants)? else {
            let text = "docs/compilers.md promises nothing of it".to_string();
            self.push(Kind::NoRow, &report.card, name(report), text);
            return Ok(());
        };
        self.used.insert(i);
        let row = &promises.rows[i];
        let vgprs = report.vgprs as f64;
        self.at_most(report, Kind::Vgprs, "VGPRs", &row.vgprs, vgprs);
        self.occupancy(report, &row.occupancy);
        let unit = "bytes of code";
        let code = report.code_bytes as f64;
        self.at_most(report, Kind::CodeBytes, unit, &row.code_bytes, code);
        self.fetched(report, &row.fetched);
        let unit = "loads of 8 or 16 bits in the loop";
        let narrow = report.busiest.as_ref().map_or(0, |l| l.loads.narrow) as f64;
        self.at_most(report, Kind::NarrowLoads, unit, &row.narrow_loads, narrow);
        Ok(())
    }

    fn at_most(&mut self, report: &Report, kind: Kind, unit: &str, column: &Column, found: f64) {
        if let Some(promised) = of_card(column, report).filter(|&promised| found > promised) {
            let text = match promised == 0.0 {
                true => format!("promised no {unit}, found {found}"),
                false => format!("promised at most {promised} {unit}, found {found}"),
            };
            self.push(kind, &report.card, name(report), text);
        }
    }

    fn occupancy(&mut self, report: &Report, column: &Column) {
        let found = report.occupancy;
        if let Some(promised) = of_card(column, report).filter(|&p| (found as f64) < p) {
            let text = format!("promised at least {promised} subgroups a SIMD, found {found}");
            self.push(Kind::Occupancy, &report.card, name(report), text);
        }
    }

    fn fetched(&mut self, report: &Report, column: &Column) {
        let Some(promised) = of_card(column, report) else {
            return;
        };
        let found = match report.fetched {
            Some(fetched) if fetched <= promised + ROUNDING => return,
            Some(fetched) => format!("found {fetched:.3}"),
            None => "found no loop that loads weights".to_string(),
        };
        let text = format!("promised at most {promised} bytes fetched a byte of weights, {found}");
        self.push(Kind::Fetched, &report.card, name(report), text);
    }

    /// The host's bytes of weights are of a loop that loads them all.
    fn loop_of_host(&mut self, report: &Report) {
        let found = report.busiest.as_ref().map_or(0, |l| l.weights);
        if let Some(said) = report.weight_bytes.filter(|&said| found < said) {
            let text = format!("promised a loop of {said} bytes of weights, found {found}");
            self.push(Kind::Loop, &report.card, name(report), text);
        }
    }

    fn push(&mut self, kind: Kind, card: &str, subject: String, text: String) {
        let card = card.to_string();
        self.faults.push(Fault {
            kind,
            subject,
            card,
            text,
        });
    }
}

fn name(report: &Report) -> String {
    with_constants(&report.kernel, &report.constants)
}

fn of_card(column: &Column, report: &Report) -> Option<f64> {
    let at = CARDS.iter().position(|card| card.name == report.card)?;
    column[at]
}
