//! Batches on the host, in plain Rust.

use std::collections::VecDeque;
use std::future::ready;

use super::executor::{Executor, PlacedRow, Running};
use crate::engine::memory::sizes::MAX_BATCH;
use crate::engine::options::Logits;
use crate::engine::sampling::{Sampler, SamplingOptions};
use crate::error::Result;
use crate::kernels::KvType;
use crate::kernels::draw::NO_TOKEN;
use crate::model::Model;
use crate::model::config::KvPolicy;
use crate::reference::{Output, Reference};
use crate::schedule::Walk;

/// Sequences on the host.
pub struct Host<'m> {
    sequences: Vec<Sequence<'m>>,
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
    /// `n` sequences of `model`.
    ///
    /// # Errors
    /// Those of reading the weights.
    pub fn new(model: &'m Model, walk: &Walk, n: usize) -> Result<Self> {
        let sequence = |_| {
            Ok(Sequence {
                reference: Reference::new(model, walk.clone())?,
                sampler: None,
                last_id: 0,
            })
        };
        Ok(Self {
            sequences: (0..n).map(sequence).collect::<Result<_>>()?,
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
        let mut output = self.reference.push(id, rule, row.wants.any());
        if row.wants.token {
            let is_finite = output.logits.iter().all(|logit| logit.is_finite());
            let sampler = self.sampler.as_mut().filter(|_| is_finite);
            let id = sampler.map_or(NO_TOKEN, |sampler| {
                // Fewer than it has seen, where positions were cut off and run again.
                sampler.truncate(row.place.next_in_text());
                sampler.sample(&output.logits)
            });
            self.last_id = id;
            output.drawn = Some(id);
        }
        if !row.wants.logits {
            output.logits.clear();
        }
        output
    }
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
        let run = |row: &PlacedRow| self.sequences[row.place.sequence].run(row);
        self.results.push_back(rows.iter().map(run).collect());
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
