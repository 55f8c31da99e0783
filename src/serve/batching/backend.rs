//! The interface of a model to the batcher.

use crate::engine::sampling::{Sampler, SamplingOptions};
use crate::engine::{Drafter, Drafts, Engine, Row};
use crate::error::Result;
use crate::reference::Output;
use crate::schedule::{Rule, TextRules};

/// A model with the keys and values of several sequences: an [`Engine`], or a fake one in a test.
pub trait Backend {
    /// Number of sequences.
    fn n(&self) -> usize;

    /// Positions that each sequence has room for.
    fn n_ctx(&self) -> usize;

    /// The most cycles that a position runs.
    fn n_cycles(&self) -> usize;

    /// The rules of texts that bring none of their own.
    fn rules(&self) -> TextRules;

    /// Where guesses of texts that bring none of their own come from.
    fn drafts(&self) -> Drafts;

    /// What guesses the tokens of a text that are drawn by `rule`; `None` where nothing does.
    fn drafter(&self, drafts: Drafts, rule: &Rule) -> Option<Drafter>;

    /// Forgets all positions of a sequence from `n` on.
    fn truncate(&mut self, sequence: usize, n: usize);

    /// Whether it can draw tokens by these options.
    fn draws(&self, options: &SamplingOptions) -> bool;

    /// From now on it draws the tokens of a sequence as `sampler` would.
    fn set_sampler(&mut self, sequence: usize, sampler: &Sampler);

    /// Whether passes are best submitted before the results of those before them are known.
    fn runs_ahead(&self) -> bool;

    /// Begins to run the given rows in one pass, after those that were submitted before.
    ///
    /// # Errors
    /// After one nothing can be said of the sequences any more.
    fn submit(&mut self, rows: &[Row]) -> Result<()>;

    /// Waits for the oldest pass. One output for each of its rows, in their order.
    ///
    /// # Errors
    /// After one nothing can be said of the sequences any more.
    fn take(&mut self) -> Result<Vec<Output>>;
}

impl Backend for Engine<'_> {
    fn n(&self) -> usize {
        self.n_sequences()
    }

    fn n_ctx(&self) -> usize {
        self.n_ctx()
    }

    fn n_cycles(&self) -> usize {
        self.n_cycles()
    }

    fn rules(&self) -> TextRules {
        self.rules()
    }

    fn drafts(&self) -> Drafts {
        self.drafts()
    }

    fn drafter(&self, drafts: Drafts, rule: &Rule) -> Option<Drafter> {
        self.drafter(drafts, rule)
    }

    fn truncate(&mut self, sequence: usize, n: usize) {
        self.truncate_sequence(sequence, n);
    }

    fn draws(&self, options: &SamplingOptions) -> bool {
        self.draws(options)
    }

    fn set_sampler(&mut self, sequence: usize, sampler: &Sampler) {
        self.set_sampler(sequence, sampler);
    }

    fn runs_ahead(&self) -> bool {
        self.ahead() > 1
    }

    fn submit(&mut self, rows: &[Row]) -> Result<()> {
        pollster::block_on(self.submit(rows))
    }

    fn take(&mut self) -> Result<Vec<Output>> {
        pollster::block_on(self.take())
    }
}
