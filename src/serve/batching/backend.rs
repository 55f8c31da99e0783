//! The interface of a model to the batcher.

use crate::engine::{Next, Sequences};
use crate::error::Result;
use crate::reference::Output;

/// A model with the keys and values of several sequences: [`Sequences`], or a fake one in a test.
pub trait Backend {
    /// Number of sequences.
    fn n(&self) -> usize;

    /// Positions that each sequence has room for.
    fn n_ctx(&self) -> usize;

    /// Forgets all positions of a sequence from `n` on.
    fn truncate(&mut self, sequence: usize, n: usize);

    /// Runs the given tokens in one pass, and waits for it. One output for each, in their order.
    ///
    /// # Errors
    /// After one nothing can be said of the sequences any more.
    fn forward(&mut self, batch: &[Next]) -> Result<Vec<Output>>;
}

impl Backend for Sequences<'_> {
    fn n(&self) -> usize {
        self.n()
    }

    fn n_ctx(&self) -> usize {
        self.n_ctx()
    }

    fn truncate(&mut self, sequence: usize, n: usize) {
        self.truncate(sequence, n);
    }

    fn forward(&mut self, batch: &[Next]) -> Result<Vec<Output>> {
        pollster::block_on(self.forward(batch))
    }
}
