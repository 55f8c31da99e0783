//! Continuous batching: one thread owns the model and extends all texts together, step by step.
//!
//! Requests come in as [`Job`]s through a [`Queue`] and go out as [`Event`]s; nothing here knows
//! of HTTP.

mod backend;
mod batcher;
mod job;
mod logprobs;
mod queue;
mod room;
mod slot;
#[cfg(test)]
mod tests;

pub use backend::Backend;
pub use batcher::Batcher;
pub use job::{Event, Job, Outcome, Piece};
pub use logprobs::{Candidate, TokenLogprobs};
pub use queue::{Queue, Refused};
