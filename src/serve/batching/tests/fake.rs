//! A backend that computes nothing but where it is.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::engine::sampling::{Sampler, SamplingOptions};
use crate::engine::{Drafter, Drafts, MAX_BATCH, Row};
use crate::error::{Error, Result};
use crate::reference::Output;
use crate::schedule::{Rule, TextRules};
use crate::serve::batching::Backend;

const N_VOCAB: usize = 300;
pub const N_CTX: usize = 400;

/// The token after a sequence is made of the sum of its ids: it tells sequences apart, and one
/// that was not truncated or ran a token twice.
pub struct Fake {
    pub sequences: Vec<Vec<u32>>,
    /// Of the pass that was submitted.
    pub results: Vec<Output>,
    pub batches: Arc<Mutex<Vec<Vec<Row>>>>,
    /// Passes before one fails.
    pub n_good: usize,
    /// The time that passes took together, and the time of a token.
    pub time: Arc<Mutex<Duration>>,
    pub token_time: Duration,
    /// It draws tokens itself where it is to guess some.
    pub drafts: Drafts,
}

impl Fake {
    pub fn new(n: usize) -> Self {
        Self {
            sequences: vec![Vec::new(); n],
            results: Vec::new(),
            batches: Arc::default(),
            n_good: usize::MAX,
            time: Arc::default(),
            token_time: Duration::ZERO,
            drafts: Drafts::NONE,
        }
    }
}

/// Every cycle runs.
pub const RULES: TextRules = TextRules {
    drawn: Rule::FULL_DEPTH,
    exit_prompt: true,
};

/// The token that the fake model draws after `ids`.
pub fn next_id(ids: &[u32]) -> u32 {
    ids.iter()
        .fold(7, |sum, id| (31 * sum + id) % N_VOCAB as u32)
}

impl Backend for Fake {
    fn n(&self) -> usize {
        self.sequences.len()
    }

    fn n_ctx(&self) -> usize {
        N_CTX
    }

    fn truncate(&mut self, sequence: usize, n: usize) {
        self.sequences[sequence].truncate(n);
    }

    fn n_cycles(&self) -> usize {
        3
    }

    fn rules(&self) -> TextRules {
        RULES
    }

    fn drafts(&self) -> Drafts {
        self.drafts
    }

    fn drafter(&self, drafts: Drafts, _: &Rule) -> Option<Drafter> {
        drafts.any().then(|| Drafter::new(drafts, 1.0))
    }

    fn draws(&self, _: &SamplingOptions) -> bool {
        self.drafts.any()
    }

    fn set_sampler(&mut self, _: usize, _: &Sampler) {}

    fn runs_ahead(&self) -> bool {
        false
    }

    fn submit(&mut self, batch: &[Row]) -> Result<()> {
        assert!(batch.len() <= MAX_BATCH);
        if self.n_good == 0 {
            return Err(Error::NotANumber { position: 5 });
        }
        self.n_good -= 1;
        *self.time.lock().unwrap() += self.token_time * batch.len() as u32;
        self.batches.lock().unwrap().push(batch.to_vec());
        let outputs = batch.iter().map(|next| {
            let ids = &mut self.sequences[next.sequence];
            ids.extend(next.id);
            let mut logits = vec![0.0; if next.wants.logits { N_VOCAB } else { 0 }];
            if next.wants.logits {
                logits[next_id(ids) as usize] = 1.0;
            }
            Output {
                logits,
                drawn: next.wants.token.then(|| next_id(ids)),
                cycles: 2,
                ..Output::default()
            }
        });
        self.results = outputs.collect();
        Ok(())
    }

    fn take(&mut self) -> Result<Vec<Output>> {
        Ok(std::mem::take(&mut self.results))
    }
}
