//! Sizes of a session, and their bounds.

use crate::engine::options::{Logits, Options};
use crate::kernels::KvType;

/// Advice in the error of a session that does not fit.
pub const LESS_CONTEXT: &str = " (a smaller `--ctx` needs less)";

/// Rows that one submission computes at most.
pub const MAX_BATCH: usize = 128;

/// Memory for logits is kept below this, by giving logits to fewer rows at a time.
const MAX_LOGITS_BYTES: usize = 64 << 20;

/// Sizes of a session.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Positions of a sequence.
    pub n_ctx: usize,
    pub n_sequences: usize,
    /// Rows that one submission computes at most.
    pub n_rows: usize,
    /// Rows of those that get logits, at most.
    pub n_outputs: usize,
    pub kv_type: KvType,
}

/// Sequences begin where blocks of keys do, so that they are summed as they would be alone.
const SEQUENCE_ALIGN: usize = 64;

impl Sizes {
    /// Sizes of a session, of a model of `n_vocab` tokens.
    pub fn of(options: &Options, n_vocab: usize) -> Self {
        let n_sequences = options.n_sequences;
        let n_rows = MAX_BATCH.min(n_sequences.saturating_mul(options.n_ctx));
        let most = (MAX_LOGITS_BYTES / 4 / n_vocab).max(n_sequences);
        Self {
            n_ctx: options.n_ctx,
            n_sequences,
            n_rows,
            n_outputs: match options.logits {
                Logits::All => n_rows.min(most),
                Logits::Last => n_sequences,
            },
            kv_type: options.kv_type,
        }
    }

    /// Where a sequence begins in the cache.
    pub fn cache_start(&self, sequence: usize) -> usize {
        sequence * self.n_ctx.next_multiple_of(SEQUENCE_ALIGN)
    }

    /// Positions of all sequences in the cache.
    pub fn n_places(&self) -> usize {
        self.cache_start(self.n_sequences - 1) + self.n_ctx
    }
}
