//! Sizes of a session, and their bounds.

use crate::engine::drafts::MAX_VERIFIED;
use crate::engine::options::{Logits, Options};
use crate::kernels::KvType;

/// Advice in the error of a session that does not fit.
pub const LESS_CONTEXT: &str = " (a smaller `--ctx` needs less)";

/// Positions that a sequence has room for before it has any.
const FIRST_ROOM: usize = 256;

/// Rows that one submission computes at most.
pub const MAX_BATCH: usize = 128;

/// Memory for logits is kept below this, by giving logits to fewer rows at a time.
const MAX_LOGITS_BYTES: usize = 64 << 20;

/// Sizes of a session.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Positions of a sequence at most.
    pub n_ctx: usize,
    /// Positions of a sequence that the caches have room for now.
    pub room: usize,
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
            room: options.n_ctx.min(FIRST_ROOM),
            n_sequences,
            n_rows,
            n_outputs: match options.logits {
                Logits::All => n_rows.min(most),
                Logits::Last if options.drafts.any() => n_sequences.max(n_rows.min(MAX_VERIFIED)),
                Logits::Last => n_sequences,
            },
            kv_type: options.kv_type,
        }
    }

    /// Where a sequence begins in the cache.
    pub fn cache_start(&self, sequence: usize) -> usize {
        sequence * self.room.next_multiple_of(SEQUENCE_ALIGN)
    }

    /// Positions of all sequences in the cache.
    pub fn n_places(&self) -> usize {
        self.cache_start(self.n_sequences - 1) + self.room
    }

    /// The sizes once sequences have room for all of their positions.
    pub fn whole(self) -> Self {
        Self {
            room: self.n_ctx,
            ..self
        }
    }

    /// The sizes with room for `n` positions of a sequence, of at most `n_ctx`: doubled until they
    /// fit, so that a text is copied no more often than its length has binary digits.
    pub fn with_room_for(self, n: usize) -> Self {
        let mut room = self.room.max(1);
        while room < n {
            room *= 2;
        }
        Self {
            room: room.min(self.n_ctx),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(n_ctx: usize, room: usize) -> Sizes {
        Sizes {
            n_ctx,
            room,
            n_sequences: 3,
            n_rows: 1,
            n_outputs: 1,
            kv_type: KvType::F32,
        }
    }

    #[test]
    fn room_doubles_up_to_the_context() {
        let grown = |n| sizes(1000, 256).with_room_for(n).room;
        let (asked, expected) = ([1, 256, 257, 512, 513], [256, 256, 512, 512, 1000]);
        assert_eq!(asked.map(grown), expected);
        assert_eq!(sizes(1000, 256).whole().room, 1000);
    }

    #[test]
    fn sequences_begin_where_blocks_of_keys_do() {
        let sizes = sizes(1000, 100);
        assert_eq!([0, 1, 2].map(|i| sizes.cache_start(i)), [0, 128, 256]);
        assert_eq!(sizes.n_places(), 356);
    }
}
