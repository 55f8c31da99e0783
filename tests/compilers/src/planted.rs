//! Planted faults: kernels that are known to be bad, and promises that are known to be broken. If
//! one is not found, nothing that the program says of others can be believed.

use anyhow::{Result, ensure};

use crate::cards::Card;
use crate::judgement::{Fault, Kind};

/// The kernels of `planted/`, and the kinds of which at least one must be found on every card.
const EXPECTED: [(&str, &[Kind]); 9] = [
    ("scratch", &[Kind::Scratch]),
    // The driver crashes on some cards.
    ("spill", &[Kind::Spill, Kind::Failure]),
    ("malformed", &[Kind::Failure]),
    ("half", &[Kind::NarrowLoads]),
    ("sum CASE=1", &[Kind::Vgprs]),
    ("sum CASE=2", &[Kind::Occupancy]),
    ("sum CASE=3", &[Kind::CodeBytes]),
    ("sum CASE=4", &[Kind::Fetched]),
    ("sum CASE=5", &[Kind::Loop]),
];

/// A pipeline that keeps its promises, one without any, and a row for none.
const FAULTLESS: &str = "sum CASE=0";
const WITHOUT_ROW: &str = "unpromised";
const UNUSED_ROW: &str = "absent";

/// Fails unless exactly the planted faults were found on all of the cards.
pub fn check(cards: &[&Card], faults: &[Fault]) -> Result<()> {
    let of = |card: &str, subject: &str| -> Vec<Kind> {
        let all = faults.iter();
        let all = all.filter(|fault| fault.card == card && fault.subject == subject);
        all.map(|fault| fault.kind).collect()
    };
    for card in cards {
        let without_row = (WITHOUT_ROW, &[Kind::NoRow][..]);
        for (subject, kinds) in EXPECTED.into_iter().chain([without_row]) {
            let found = of(card.name, subject);
            ensure!(
                found.iter().any(|kind| kinds.contains(kind)),
                "{}: the planted fault of `{subject}` was not found: expected {kinds:?}, found \
                 {found:?}",
                card.name
            );
        }
        let found = of(card.name, FAULTLESS);
        ensure!(
            found.is_empty(),
            "{}: `{FAULTLESS}` is without fault, found {found:?}",
            card.name
        );
    }
    let found = of("all cards", UNUSED_ROW);
    ensure!(
        found == [Kind::UnusedRow],
        "the planted row `{UNUSED_ROW}` for no pipeline was not found"
    );
    Ok(())
}
