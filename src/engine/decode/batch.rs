//! The stages of a batch: its request, its submission, its results.

use web_time::Instant;

use crate::engine::memory::rows::RowPosition;
use crate::engine::sampling::device::DeviceSampler;
use crate::gpu::{Target, Traffic};
use crate::kernels::BatchKind;
use crate::reference::Output;

/// A batch to be computed.
pub struct Request<'a> {
    /// The place of each row.
    pub places: Vec<RowPosition>,
    /// `None`: the token that was drawn last, which is on the device already.
    pub ids: Option<&'a [u32]>,
    /// Rows that get logits.
    pub with_logits: Vec<u32>,
    /// Draws a token from the logits, which then stay on the device.
    pub draws: Option<&'a DeviceSampler>,
}

impl Request<'_> {
    pub fn kind(&self, target: &Target) -> BatchKind {
        let start = self.places[0].cache_start;
        let of_one = self.places.iter().all(|p| p.cache_start == start);
        BatchKind::of(target, self.places.len(), of_one)
    }
}

/// A batch under way.
pub struct Submitted {
    pub index: wgpu::SubmissionIndex,
    /// Bytes of the answer (logits, or the token drawn) and, after it, of the progress.
    pub n_bytes: u64,
    /// Words of the answer.
    pub n_answer: usize,
    /// When it was submitted.
    pub at: Instant,
    pub kind: BatchKind,
    pub places: Vec<RowPosition>,
    pub with_logits: Vec<u32>,
    /// Bytes and operations of drawing a token, where one is drawn.
    pub drawing: Option<Traffic>,
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
