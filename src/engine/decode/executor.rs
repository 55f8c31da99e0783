//! What runs batches: the host's plain Rust, or a device.

use std::future::Future;
use std::pin::Pin;

use crate::engine::memory::rows::Place;
use crate::engine::options::Logits;
use crate::engine::row::Wants;
use crate::engine::sampling::{Sampler, SamplingOptions};
use crate::error::Result;
use crate::model::config::KvPolicy;
use crate::reference::Output;

/// Work that may have to wait for a device.
pub type Running<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + 'a>>;

/// A row of a batch that may be run: its position is the next of its sequence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlacedRow {
    pub place: Place,
    /// `None`: the token drawn last in its sequence.
    pub id: Option<u32>,
    /// The id is a guess of the token drawn at the row before.
    pub is_guess: bool,
    pub wants: Wants,
}

impl PlacedRow {
    /// Whether its token is drafted by depth, from the row before it.
    pub fn is_drafted(&self) -> bool {
        self.is_guess && self.id.is_none()
    }
}

/// Runs batches of rows, in the order they are submitted. Whether rows may be run is for the
/// engine to know.
pub trait Executor {
    /// Rows that are best run together, of `n` of one sequence that need these logits.
    fn rows_at_once(&self, n: usize, logits: Logits) -> usize;

    /// Batches that are best under way at a time, where none needs the results of another.
    fn ahead(&self) -> usize;

    /// Whether it can draw tokens by these options.
    fn draws(&self, options: &SamplingOptions) -> bool;

    /// From the next batch on, tokens of `sequence` are drawn as `sampler` would draw them.
    fn set_sampler(&mut self, sequence: usize, sampler: &Sampler);

    /// From the next batch on, keys and values of skipped cycles come from there.
    fn set_kv_policy(&mut self, kv: KvPolicy);

    /// Forgets the positions of a sequence from `n` on. No batch is under way.
    fn truncate(&mut self, sequence: usize, n: usize);

    /// Gives every sequence room for `n` positions, or for as many more as pay off. Returns how
    /// many there is room for.
    fn reserve(&mut self, n: usize) -> Running<'_, usize>;

    /// Gives every sequence room for `n` positions and no more. Those that do not fit have been
    /// forgotten.
    fn set_room(&mut self, n: usize) -> Running<'_, ()>;

    /// Begins to run a batch.
    fn submit<'a>(&'a mut self, rows: Vec<PlacedRow>) -> Running<'a, ()>;

    /// The results of the oldest batch under way, an output for each row.
    fn take(&mut self) -> Running<'_, Vec<Output>>;

    /// Gives up the results of all batches under way.
    fn forget(&mut self);
}
