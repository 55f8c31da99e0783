//! The cards, and a process for each of them that compiles its pipelines. The driver crashes on
//! some pipelines that spill, and breaks its memory on others: a process ends after one that
//! spilled, the next one goes on from there, and a crash is a failure of the pipeline at which it
//! happened.

use std::env;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Output};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::driver::Driver;
use crate::input::{Input, Pipeline};
use crate::report::Report;

/// A card that the driver can stand for.
#[derive(Debug)]
pub struct Card {
    /// Its name for the driver.
    pub name: &'static str,
    /// The smallest and the largest of its subgroups.
    pub subgroup: [u32; 2],
}

/// RDNA3, RDNA2 and GCN, in the order of the table's values.
pub const CARDS: [Card; 3] = [
    Card {
        name: "navi31",
        subgroup: [32, 64],
    },
    Card {
        name: "navi21",
        subgroup: [32, 64],
    },
    Card {
        name: "vega10",
        subgroup: [64, 64],
    },
];

impl Card {
    pub fn named(name: &str) -> Result<&'static Self> {
        let found = CARDS.iter().find(|card| card.name == name);
        found.with_context(|| format!("no card `{name}`: navi31, navi21 and vega10 are known"))
    }
}

/// The variable by which the driver is told which card to stand for.
const FAMILY: &str = "RADV_FORCE_FAMILY";

/// The argument that makes this program compile for one card and print to its caller.
pub const WORKER: &str = "--worker";

/// The results for one card, in the order of its pipelines.
pub struct Results {
    pub reports: Vec<Report>,
    /// Pipelines without a report, and the reasons.
    pub failures: Vec<(Pipeline, String)>,
}

/// A line from a worker to its caller.
#[derive(Deserialize, Serialize)]
enum Message {
    Driver(String),
    Report(Box<Report>),
    Failure(String),
}

/// Compiles the pipelines of a folder for one card.
pub fn compile(card: &Card, folder: &Path, input: &Input) -> Result<Results> {
    let pipelines = input.of(card)?;
    let mut results = Results {
        reports: Vec::new(),
        failures: Vec::new(),
    };
    let mut next = 0;
    while next < pipelines.len() {
        let output = Command::new(env::current_exe()?)
            .args([WORKER, card.name])
            .arg(folder)
            .arg(next.to_string())
            .env(FAMILY, card.name)
            .output()?;
        let before = next;
        let mut is_open = false;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            // A crash may cut the last line off.
            let Ok(message) = serde_json::from_str(line) else {
                break;
            };
            match message {
                Message::Driver(name) => {
                    is_open = true;
                    if before == 0 {
                        eprintln!("{}: {} pipelines, {name}", card.name, pipelines.len());
                    }
                    continue;
                }
                Message::Report(report) => results.reports.push(*report),
                Message::Failure(why) => results.failures.push((pipelines[next].clone(), why)),
            }
            next += 1;
        }
        let last = last_line(&output);
        ensure!(is_open, "{}: the driver does not open: {last}", card.name);
        if !output.status.success() {
            let at = pipelines[next.min(pipelines.len() - 1)].clone();
            results.failures.push((at, crash(output.status, &last)));
            next += 1;
        }
        ensure!(next > before, "{}: nothing was compiled: {last}", card.name);
    }
    Ok(results)
}

fn crash(status: ExitStatus, last: &str) -> String {
    format!("the compiler crashed, as it does on some pipelines that spill ({status}): {last}")
}

fn last_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    // The driver says this whenever there is no card.
    let mut lines = text
        .lines()
        .filter(|line| !line.contains("invalid pci bus info"));
    lines.next_back().unwrap_or("no message").to_string()
}

/// The worker: compiles the pipelines of a card from `first` on, up to one that spills.
pub fn work(card: &str, folder: &Path, first: &str) -> Result<()> {
    let card = Card::named(card)?;
    let input = Input::read(folder)?;
    let driver = Driver::open()?;
    if !driver.card.to_lowercase().contains(card.name) {
        bail!("expected {}, found `{}`", card.name, driver.card);
    }
    say(&Message::Driver(driver.name.clone()))?;
    for pipeline in input.of(card)?.into_iter().skip(first.parse()?) {
        let message = match Report::make(&driver, card.name, &input, pipeline) {
            Ok(report) => Message::Report(Box::new(report)),
            Err(error) => Message::Failure(format!("{error:#}")),
        };
        say(&message)?;
        if matches!(message, Message::Report(report) if report.spilled > 0) {
            break;
        }
    }
    Ok(())
}

fn say(message: &Message) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(message)?)?;
    Ok(out.flush()?)
}
