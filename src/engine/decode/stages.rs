//! The stages of a submission that drafts by depth: batches that run one after the other.
//!
//! A chain is a row and those whose tokens are drafted after it, one by one. Each stage begins the
//! next row of every chain, as deep as drafts run, and keeps its residual stream; then it drafts the
//! token of the row after it. The last stage verifies all rows at once, from the streams kept.
//!
//! ```text
//! rows      a b' b'' c          a chain of three, and a row alone
//! stages    begin  a c          keep
//!           draft  a            the token of b'
//!           begin  b'           keep
//!           draft  b'           the token of b''
//!           begin  b''          keep
//!           verify a c b' b''
//! ```

use std::cmp::Reverse;
use std::ops::Range;

use super::batch::{OutputRows, Stage};
use super::executor::PlacedRow;
use super::segments::Segment;
use crate::engine::drafts::Cuts;
use crate::engine::row::Wants;
use crate::engine::sampling::device::Changes;

impl Stage {
    /// Of rows `of_rows` of a submission, each of which wants this.
    fn draft(rows: &[PlacedRow], of_rows: &[usize], wants: Wants) -> Self {
        let row = |&i: &usize| PlacedRow { wants, ..rows[i] };
        Self {
            rows: of_rows.iter().map(row).collect(),
            of_rows: of_rows.to_vec(),
            segments: Vec::new(),
            is_draft: true,
        }
    }
}

/// The stages of a submission. `changes` says what drawing for rows has to do besides.
pub fn stages(
    cuts: &Cuts,
    rows: &[PlacedRow],
    changes: impl Fn(&[PlacedRow]) -> Changes,
) -> Vec<Stage> {
    let mut chains = chains(rows);
    // The rows of a stage that go on come first, and so they do in the next one.
    chains.sort_by_key(|chain| Reverse(chain.len()));
    let mut stages = Vec::new();
    let mut order: Vec<usize> = Vec::new();
    for nth in 0..chains.first().map_or(0, ExactSizeIterator::len) {
        let longer = chains.iter().filter(|chain| chain.len() > nth);
        let all: Vec<usize> = longer.map(|chain| chain.start + nth).collect();
        let longer = chains.iter().filter(|chain| chain.len() > nth + 1);
        let n_drafting = longer.count();
        let mut begin = Stage::draft(rows, &all, Wants::NOTHING);
        if begin.rows.iter().any(|row| row.id.is_none()) {
            begin.segments.push(Segment::Next);
        }
        begin.segments.push(Segment::Embed);
        begin.segments.push(layers(&cuts.begin));
        begin.segments.push(Segment::Keep { first: order.len() });
        order.extend(&all);
        stages.push(begin);
        if n_drafting > 0 {
            let mut draft = Stage::draft(rows, &all[..n_drafting], Wants::TOKEN);
            if !cuts.tail.is_empty() {
                draft.segments.push(layers(&cuts.tail));
            }
            draft.segments.push(Segment::Logits);
            let changes = changes(&draft.rows);
            draft.segments.push(Segment::Draw(changes));
            stages.push(draft);
        }
    }
    stages.push(verify(cuts, rows, order, changes));
    stages
}

/// The stage that verifies all rows, in this order.
fn verify(
    cuts: &Cuts,
    rows: &[PlacedRow],
    order: Vec<usize>,
    changes: impl Fn(&[PlacedRow]) -> Changes,
) -> Stage {
    let of_order: Vec<PlacedRow> = order.iter().map(|&i| rows[i]).collect();
    let outputs = OutputRows::of(&of_order);
    let mut segments = vec![Segment::Restore, layers(&cuts.rest)];
    if outputs.len() > 0 {
        segments.push(Segment::Logits);
    }
    if outputs.n_draws > 0 {
        segments.push(Segment::Draw(changes(&of_order)));
    }
    Stage {
        rows: of_order,
        of_rows: order,
        segments,
        is_draft: false,
    }
}

/// Rows that follow each other, each but the first drafted from the one before.
fn chains(rows: &[PlacedRow]) -> Vec<Range<usize>> {
    let mut chains: Vec<Range<usize>> = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        match chains.last_mut() {
            Some(chain) if row.is_drafted() => chain.end = i + 1,
            _ => chains.push(i..i + 1),
        }
    }
    chains
}

fn layers(steps: &Range<usize>) -> Segment {
    Segment::Layers {
        steps: steps.clone(),
        exits: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::memory::rows::Place;

    #[test]
    fn each_stage_begins_the_next_row_of_every_chain() {
        let cuts = Cuts {
            begin: 0..4,
            tail: 10..12,
            rest: 4..12,
        };
        let row = |id: Option<u32>, is_guess| PlacedRow {
            place: Place::alone(0, 1)[0],
            id,
            is_guess,
            wants: Wants::TOKEN,
        };
        // A row alone, a chain of three, a guess from the text.
        let rows = [
            row(Some(1), false),
            row(Some(2), false),
            row(None, true),
            row(None, true),
            row(Some(3), true),
        ];
        let stages = stages(&cuts, &rows, |_| Changes::default());
        let found: Vec<(&[usize], usize, bool)> = stages
            .iter()
            .map(|stage| {
                let wanted = stage.rows.iter().filter(|row| row.wants.token);
                (&stage.of_rows[..], wanted.count(), stage.is_draft)
            })
            .collect();
        let expected: [(&[usize], usize, bool); 6] = [
            (&[1, 0, 4], 0, true),
            (&[1], 1, true),
            (&[2], 0, true),
            (&[2], 1, true),
            (&[3], 0, true),
            (&[1, 0, 4, 2, 3], 5, false),
        ];
        assert_eq!(found, expected);
        let kept = stages.iter().flat_map(|stage| &stage.segments);
        let kept = kept.filter_map(|segment| match segment {
            Segment::Keep { first } => Some(*first),
            _ => None,
        });
        assert_eq!(kept.collect::<Vec<_>>(), [0, 3, 4]);
        assert_eq!(stages[0].segments[0], Segment::Embed);
        assert_eq!(stages[2].segments[0], Segment::Next);
        assert_eq!(stages[5].segments[0], Segment::Restore);
    }
}
