//! Batches on the host, in plain Rust.

use std::collections::VecDeque;
use std::future::ready;

use super::executor::{Executor, PlacedRow, Running};
use crate::engine::drafts::Cuts;
use crate::engine::memory::sizes::MAX_BATCH;
use crate::engine::options::Logits;
use crate::engine::sampling::{Sampler, SamplingOptions};
use crate::error::Result;
use crate::kernels::KvType;
use crate::kernels::draw::NO_TOKEN;
use crate::model::Model;
use crate::model::config::KvPolicy;
use crate::reference::{Output, Position, Reference};
use crate::schedule::Walk;

/// Sequences on the host.
pub struct Host<'m> {
    sequences: Vec<Sequence<'m>>,
    /// The walk cut for drafts by depth, where there are any.
    cuts: Option<Cuts>,
    /// Results that have not been taken.
    results: VecDeque<Vec<Output>>,
}

struct Sequence<'m> {
    reference: Reference<'m>,
    sampler: Option<Sampler>,
    /// The token drawn last.
    last_id: u32,
}

impl<'m> Host<'m> {
    /// `n` sequences of `model`, which draft by depth as `cuts` says.
    ///
    /// # Errors
    /// Those of reading the weights.
    pub fn new(model: &'m Model, walk: &Walk, cuts: Option<Cuts>, n: usize) -> Result<Self> {
        let sequence = |_| {
            Ok(Sequence {
                reference: Reference::new(model, walk.clone())?,
                sampler: None,
                last_id: 0,
            })
        };
        Ok(Self {
            sequences: (0..n).map(sequence).collect::<Result<_>>()?,
            cuts,
            results: VecDeque::new(),
        })
    }

    /// From now on keys and values are rounded as a device rounds them whose cache is of this type.
    pub fn round_kv(&mut self, kv_type: KvType) {
        let sequences = self.sequences.iter_mut();
        sequences.for_each(|sequence| sequence.reference.round_kv(kv_type));
    }
}

impl Sequence<'_> {
    fn run(&mut self, row: &PlacedRow) -> Output {
        let id = row.id.unwrap_or(self.last_id);
        let rule = &row.place.rule;
        let output = self.reference.push(id, rule, row.wants.any());
        self.drawn(row, output)
    }

    /// The result of a row from what was computed for it.
    fn drawn(&mut self, row: &PlacedRow, mut output: Output) -> Output {
        if row.wants.token {
            let id = draw(self.sampler.as_mut(), row, &output.logits);
            self.last_id = id;
            output.drawn = Some(id);
        }
        if !row.wants.logits {
            output.logits.clear();
        }
        output
    }

    /// Runs a row, and rows whose tokens are drafted one after the other: first as deep as drafts
    /// run, then all the rest. A row that nothing is drafted for draws no token.
    fn run_drafting(&mut self, cuts: &Cuts, rows: &[PlacedRow]) -> Vec<Output> {
        let mut drafting = self.sampler.clone();
        let mut id = rows[0].id.unwrap_or(self.last_id);
        let mut kept: Vec<Position> = Vec::new();
        for (i, row) in rows.iter().enumerate() {
            let rule = &row.place.rule;
            let mut position = self.reference.begin(id);
            self.reference
                .steps(cuts.begin.clone(), rule, &mut position);
            if i + 1 == rows.len() {
                kept.push(position);
                break;
            }
            let mut copy = position.clone();
            self.reference.steps(cuts.tail.clone(), rule, &mut copy);
            id = draw(drafting.as_mut(), row, &self.reference.logits(&copy));
            position.output.drafted = Some(id);
            kept.push(position);
            // Logits of a draft may be no numbers where those of full depth are.
            if id == NO_TOKEN {
                break;
            }
        }
        let mut kept = kept.into_iter();
        let verified = rows.iter().map(|row| {
            let Some(mut position) = kept.next() else {
                return Output {
                    drawn: Some(NO_TOKEN),
                    ..Output::default()
                };
            };
            let rule = &row.place.rule;
            self.reference.steps(cuts.rest.clone(), rule, &mut position);
            if row.wants.any() {
                position.output.logits = self.reference.logits(&position);
            }
            self.drawn(row, position.output)
        });
        verified.collect()
    }
}

/// The token after a row, drawn from its logits.
fn draw(sampler: Option<&mut Sampler>, row: &PlacedRow, logits: &[f32]) -> u32 {
    let is_finite = logits.iter().all(|logit| logit.is_finite());
    sampler.filter(|_| is_finite).map_or(NO_TOKEN, |sampler| {
        // Fewer than it has seen, where positions were cut off and run again.
        sampler.truncate(row.place.next_in_text());
        sampler.sample(logits)
    })
}

impl Executor for Host<'_> {
    fn rows_at_once(&self, n: usize, _: Logits) -> usize {
        n.clamp(1, MAX_BATCH)
    }

    fn ahead(&self) -> usize {
        1
    }

    fn draws(&self, options: &SamplingOptions) -> bool {
        !options.on_host
    }

    fn set_sampler(&mut self, sequence: usize, sampler: &Sampler) {
        self.sequences[sequence].sampler = Some(sampler.clone());
    }

    fn set_kv_policy(&mut self, kv: KvPolicy) {
        for sequence in &mut self.sequences {
            sequence.reference.set_kv_policy(kv);
        }
    }

    fn truncate(&mut self, sequence: usize, n: usize) {
        self.sequences[sequence].reference.truncate(n);
    }

    // A vector grows by itself.
    fn reserve(&mut self, n: usize) -> Running<'_, usize> {
        Box::pin(ready(Ok(n)))
    }

    fn set_room(&mut self, _: usize) -> Running<'_, ()> {
        Box::pin(ready(Ok(())))
    }

    fn submit<'a>(&'a mut self, rows: Vec<PlacedRow>) -> Running<'a, ()> {
        let mut outputs = Vec::with_capacity(rows.len());
        for rows in rows.chunk_by(|_, next| next.is_drafted()) {
            let sequence = &mut self.sequences[rows[0].place.sequence];
            match &self.cuts {
                Some(cuts) if rows.len() > 1 => outputs.extend(sequence.run_drafting(cuts, rows)),
                _ => outputs.extend(rows.iter().map(|row| sequence.run(row))),
            }
        }
        self.results.push_back(outputs);
        Box::pin(ready(Ok(())))
    }

    fn take(&mut self) -> Running<'_, Vec<Output>> {
        let results = self.results.pop_front().unwrap_or_default();
        Box::pin(ready(Ok(results)))
    }

    fn forget(&mut self) {
        self.results.clear();
    }
}
