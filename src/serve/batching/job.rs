//! A text to be generated, and its events up to the result.

use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;

use super::TokenLogprobs;
use crate::engine::sampling::SamplingOptions;
use crate::engine::{DraftCounts, Drafts};
use crate::generate::{Exits, Finish, StopRules};
use crate::schedule::TextRules;

/// One text to be generated.
pub struct Job {
    /// At least one token, no more than the context holds, each within the vocabulary.
    pub prompt: Vec<u32>,
    pub sampling: SamplingOptions,
    pub rules: StopRules,
    /// When its positions leave the cycles.
    pub depth: TextRules,
    /// Where guesses of its tokens come from.
    pub drafts: Drafts,
    /// How many of the likeliest tokens are wanted beside each drawn one; `None` wants no
    /// probabilities at all.
    pub n_top: Option<usize>,
    /// Which of a request's texts this is.
    pub choice: usize,
    /// Events, each with `choice`. A receiver that is gone gives the job up. Events that pile up
    /// there are bounded by the context.
    pub events: UnboundedSender<(usize, Event)>,
    /// When the request came.
    pub since: Instant,
}

impl Job {
    /// Whether nobody waits for the text any more.
    pub fn is_abandoned(&self) -> bool {
        self.events.is_closed()
    }

    /// Tells the receiver. One that is gone is noticed by [`Job::is_abandoned`].
    pub fn tell(&self, event: Event) {
        let _ = self.events.send((self.choice, event));
    }
}

/// The events of a job, in this order.
#[derive(Debug)]
pub enum Event {
    /// It has a sequence.
    Started,
    /// The text grows.
    Pieces(Vec<Piece>),
    /// The text is complete.
    Ended(Outcome),
    /// There will be no more of it, for this reason, in one line.
    Failed(String),
}

/// A token whose text is certain to be part of the output.
#[derive(Debug)]
pub struct Piece {
    pub id: u32,
    /// May be empty: see [`Token::text`](crate::generate::Token::text).
    pub text: String,
    pub logprobs: Option<TokenLogprobs>,
}

/// The result of a job.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub finish: Finish,
    /// Tokens of the prompt whose keys and values were there already.
    pub n_cached: usize,
    pub n_generated: usize,
    /// Of the positions that were run for it.
    pub exits: Exits,
    /// How guesses turned out; `None` where none were made.
    pub drafts: Option<DraftCounts>,
}
