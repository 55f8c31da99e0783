//! The stages of a batch: its request, its submission, its results.

use web_time::Instant;

use super::device_sampling::DeviceSampler;
use crate::gpu::Moved;
use crate::kernels::linear::Batch;
use crate::reference::Output;

/// Where a row of a batch belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Position of the row in its sequence.
    pub position: usize,
    /// Where the sequence begins in the cache.
    pub cache_start: usize,
}

impl Place {
    /// `n` rows from `first_position` on of a sequence that has the cache for itself.
    pub fn alone(first_position: usize, n: usize) -> Vec<Place> {
        let place = |position| Place {
            position,
            cache_start: 0,
        };
        (first_position..first_position + n).map(place).collect()
    }
}

/// A batch to be computed.
pub(super) struct Request<'a> {
    /// The place of each row.
    pub places: Vec<Place>,
    /// `None`: the token that was drawn last, which is on the device already.
    pub ids: Option<&'a [u32]>,
    /// Rows that get logits.
    pub with_logits: Vec<u32>,
    /// Draws a token from the logits, which then stay on the device.
    pub draws: Option<&'a DeviceSampler>,
}

impl Request<'_> {
    pub fn rows(&self) -> BatchRows {
        let start = self.places[0].cache_start;
        match self.places.len() {
            1 => BatchRows::One,
            _ if self.places.iter().all(|p| p.cache_start == start) => BatchRows::OfOneSequence,
            _ => BatchRows::OfSeveral,
        }
    }
}

/// The rows of a batch, as far as a pass depends on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchRows {
    One,
    OfOneSequence,
    /// Rows of several sequences, which share no keys.
    OfSeveral,
}

impl BatchRows {
    pub fn batch(self) -> Batch {
        match self {
            BatchRows::One => Batch::One,
            BatchRows::OfOneSequence | BatchRows::OfSeveral => Batch::Many,
        }
    }
}

/// A batch under way.
pub(super) struct Submitted {
    pub index: wgpu::SubmissionIndex,
    /// Bytes of the answer (logits, or the token drawn) and, after it, of the progress.
    pub n_bytes: u64,
    /// Words of the answer.
    pub n_answer: usize,
    /// When it was submitted.
    pub at: Instant,
    pub rows: BatchRows,
    pub places: Vec<Place>,
    pub with_logits: Vec<u32>,
    /// Bytes and operations of drawing a token, where one is drawn.
    pub drawing: Option<Moved>,
    pub n_dispatches: usize,
}

/// Results of batches.
#[derive(Default)]
pub struct Results {
    /// Without logits where a token was drawn.
    pub outputs: Vec<Output>,
    /// The token drawn, or [`NO_TOKEN`](crate::kernels::draw::NO_TOKEN).
    pub drawn: Option<u32>,
}
