//! Compiles the product's kernels with a real GPU compiler, AMD's Vulkan driver RADV, for cards
//! that are not there, and holds what comes out to the promises in `docs/compilers.md`.
//!
//!     ztt-wgpu-compilers FOLDER [CARD]...
//!
//! FOLDER is what the product's tests write. A JSON line a pipeline and card goes to standard
//! output, a line a broken promise to standard error. Status 1: something is broken; 2: there is
//! no telling.

mod assembly;
mod cards;
mod descriptors;
mod driver;
mod input;
mod judgement;
mod loops;
mod planted;
mod promises;
mod report;
mod shader;

use std::env;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};

use cards::{CARDS, Card};
use input::Input;
use judgement::{Fault, Judge};
use promises::Promises;

/// The crate's folder.
const HERE: &str = env!("CARGO_MANIFEST_DIR");

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match run(&args) {
        Ok(faults) if faults.is_empty() => ExitCode::SUCCESS,
        Ok(faults) => {
            for fault in &faults {
                eprintln!("{fault}");
            }
            eprintln!("{} promises are broken", faults.len());
            ExitCode::from(1)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &[String]) -> Result<Vec<Fault>> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    if let [cards::WORKER, card, folder, first] = args[..] {
        cards::work(card, Path::new(folder), first)?;
        return Ok(Vec::new());
    }
    let [folder, names @ ..] = &args[..] else {
        bail!("usage: ztt-wgpu-compilers FOLDER [CARD]...");
    };
    let named: Vec<&Card> = names
        .iter()
        .map(|name| Card::named(name))
        .collect::<Result<_>>()?;
    let cards: Vec<&Card> = match named.is_empty() {
        true => CARDS.iter().collect(),
        false => named,
    };
    let here = Path::new(HERE);
    let planted = here.join("planted");
    let faults = judge(&planted, &planted.join("promises.md"), &cards, true)?;
    planted::check(&cards, &faults)?;
    eprintln!("all planted faults were found");
    let document = here.join("../../docs/compilers.md");
    judge(Path::new(folder), &document, &cards, false)
}

/// Compiles a folder's pipelines for all of the cards and judges them by a document.
fn judge(folder: &Path, document: &Path, cards: &[&Card], is_planted: bool) -> Result<Vec<Fault>> {
    let promises = Promises::read(document)?;
    let input = Input::read(folder)?;
    let mut judge = Judge::new(&promises);
    for card in cards {
        let results = cards::compile(card, folder, &input)?;
        if !is_planted {
            for report in &results.reports {
                println!("{}", serde_json::to_string(report)?);
            }
        }
        judge.card(card.name, &results)?;
    }
    // Where cards are left out, a row may be for one of those.
    let is_whole = CARDS.iter().all(|a| cards.iter().any(|b| a.name == b.name));
    if is_whole || is_planted {
        judge.unused_rows();
    }
    Ok(judge.faults)
}
