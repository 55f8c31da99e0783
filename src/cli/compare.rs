//! `bench compare`: two reports side by side.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::{output, printable, setup, stderr};
use crate::error::first_line;
use crate::files::{self, MIB};
use crate::measure::formats::figure;
use crate::measure::report::{Detail, Report, Row};

/// The longest report that is read.
const LIMIT: u64 = 64 * MIB;

#[derive(clap::Args)]
pub struct Args {
    /// A report that was printed with `-o json`
    #[arg(value_name = "A.json")]
    before: PathBuf,

    /// The report to compare with it
    #[arg(value_name = "B.json")]
    after: PathBuf,

    /// Compare figures of different adapters too
    #[arg(long)]
    force: bool,
}

pub fn main(args: &Args) -> Result<()> {
    let before = read(&args.before)?;
    let after = read(&args.after)?;
    let adapter = |r: &Report| {
        let shown = format!("`{}` ({})", r.adapter.name, r.adapter.backend);
        printable::one_line(&shown).into_owned()
    };
    if adapter(&before) != adapter(&after) && !args.force {
        bail!(
            "the reports are of different adapters: {} and {} (`--force` compares them all the same)",
            adapter(&before),
            adapter(&after)
        );
    }
    if before.adapter.driver != after.adapter.driver {
        let drivers = (&before.adapter.driver, &after.adapter.driver);
        let warning = format!("the drivers differ: {} and {}", drivers.0, drivers.1);
        setup::warn(&[warning]);
    }
    for (here, there, file) in [
        (&before, &after, &args.before),
        (&after, &before, &args.after),
    ] {
        let alone = |row: &&Row| !there.rows.iter().any(|other| key(other) == key(row));
        let alone: Vec<_> = here.rows.iter().filter(alone).map(name).collect();
        if !alone.is_empty() {
            let file = file.display();
            stderr::line(format!("only in {file}: {}", alone.join(", ")));
        }
    }
    let pairs = before.rows.iter().filter_map(|a| {
        let b = after.rows.iter().find(|b| key(a) == key(b))?;
        Some(line(a, b))
    });
    let lines: String = pairs.collect();
    if lines.is_empty() {
        bail!("the reports have no test in common");
    }
    let software = match before.adapter.software || after.adapter.software {
        true => ", a software adapter",
        false => "",
    };
    let head = format!(
        "{}{software}\n\n| test | A | B | unit | speed B/A | noise | verdict |\n\
         | --- | ---: | ---: | --- | ---: | ---: | --- |\n",
        adapter(&after)
    );
    output::for_people(&(head + &lines))
}

fn read(file: &Path) -> Result<Report> {
    let shown = file.display();
    let text = files::user_text(file, LIMIT)?;
    match serde_json::from_str(&text) {
        Ok(report) => Ok(report),
        Err(e) => bail!(
            "`{shown}`: expected a report as `-o json` prints it, found otherwise: {}",
            first_line(e)
        ),
    }
}

/// The key by which tests of two reports are matched.
fn key(row: &Row) -> String {
    match &row.detail {
        Detail::Model(d) => format!(
            "{} {} {} {} {} {:?} {}",
            row.test, d.model, d.quant, d.kv_type, d.cycles, d.exit_threshold, d.exit_kv
        ),
        _ => row.test.clone(),
    }
}

/// How the test is called in the table.
fn name(row: &Row) -> String {
    match &row.detail {
        Detail::Model(d) => {
            let exit = d
                .exit_threshold
                .map_or(String::new(), |t| format!(" exit {t}"));
            format!(
                "{} {} kv {} cycles {}{exit}",
                d.model, row.test, d.kv_type, d.cycles
            )
        }
        _ => row.test.clone(),
    }
}

/// How many times as fast `b` is, by the medians, and the part of that which is noise: two
/// standard deviations of the samples of both, relative to their means.
fn ratio(a: &Row, b: &Row) -> (f64, Option<f64>) {
    let (mut from, mut to) = (a.stats.median, b.stats.median);
    if !a.unit.larger_is_better() {
        (from, to) = (to, from);
    }
    let relative = |row: &Row| row.stats.sd / row.stats.mean;
    let several = a.samples.len() > 1 && b.samples.len() > 1;
    let noise = several.then(|| 2.0 * relative(a).hypot(relative(b)));
    (to / from, noise)
}

fn line(a: &Row, b: &Row) -> String {
    let (ratio, noise) = ratio(a, b);
    let verdict = match noise {
        None => "one sample: cannot say",
        Some(noise) if (ratio.ln()).abs() <= noise => "within noise",
        Some(_) if ratio > 1.0 => "faster",
        Some(_) => "slower",
    };
    format!(
        "| {} | {} | {} | {} | {ratio:.3} | {} | {verdict} |\n",
        printable::one_line(&name(a)).replace('|', "/"),
        figure(a.stats.median),
        figure(b.stats.median),
        a.unit.name(),
        noise.map_or("unknown".to_string(), |n| format!("± {n:.3}")),
    )
}
