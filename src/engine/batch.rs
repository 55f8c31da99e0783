//! A batch on its way: what is asked, what is under way, what it came to.

use std::time::Instant;

use super::device_sampling::DeviceSampler;
use crate::kernels::Moved;
use crate::reference::Output;

/// A batch to be computed.
pub(super) struct Request<'a> {
    pub first_position: usize,
    /// `None`: the token that was drawn last, which is on the device already.
    pub ids: Option<&'a [u32]>,
    /// Rows that get logits.
    pub with_logits: Vec<u32>,
    /// Draws a token from the logits, which then stay on the device.
    pub draws: Option<&'a DeviceSampler>,
}

impl Request<'_> {
    pub fn n_rows(&self) -> usize {
        self.ids.map_or(1, <[u32]>::len)
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
    pub first_position: usize,
    pub n_rows: usize,
    pub with_logits: Vec<u32>,
    /// What drawing a token moves, where one is drawn.
    pub drawing: Option<Moved>,
    pub n_dispatches: usize,
}

/// What batches came to.
#[derive(Default)]
pub struct Results {
    /// Without logits where a token was drawn.
    pub outputs: Vec<Output>,
    /// The token drawn, or [`NO_TOKEN`](crate::kernels::draw::NO_TOKEN).
    pub drawn: Option<u32>,
}
