//! The events of a request, and its usage.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout_at};

use super::error::ApiError;
use super::track::Tally;
use crate::serve::FOREVER;
use crate::serve::batching::Event;
use crate::serve::openai::Usage;

/// Receives the events of a request's texts. Dropping it gives up those that have not ended.
pub struct Reply {
    events: UnboundedReceiver<(usize, Event)>,
    deadline: Instant,
    /// Texts that have not ended.
    n_open: usize,
    /// Texts of each prompt.
    n: usize,
    pub usage: Usage,
    tally: Arc<Tally>,
}

impl Reply {
    /// Of `n_texts` texts, `n` of each prompt; the prompts have `n_prompt` tokens together.
    pub fn new(
        events: UnboundedReceiver<(usize, Event)>,
        deadline: Instant,
        [n_texts, n, n_prompt]: [usize; 3],
        tally: Arc<Tally>,
    ) -> Self {
        tally.set_prompt(n_prompt);
        Self {
            events,
            deadline,
            n_open: n_texts,
            n,
            usage: Usage {
                n_prompt,
                ..Usage::default()
            },
            tally,
        }
    }

    /// The next event and the text it is of; `None` once all texts have ended.
    ///
    /// # Errors
    /// Where a text has failed or the request has taken too long; there is nothing more then.
    pub async fn next(&mut self) -> Result<Option<(usize, Event)>, ApiError> {
        if self.n_open == 0 {
            return Ok(None);
        }
        let received = timeout_at(self.deadline, self.events.recv()).await;
        let (choice, event) = match received {
            Ok(Some((_, Event::Failed(message)))) => return Err(ApiError::unavailable(message)),
            Ok(Some(event)) => event,
            // The batcher has dropped the job.
            Ok(None) => return Err(ApiError::unavailable("the server ends")),
            Err(_) => return Err(timed_out()),
        };
        match &event {
            Event::Pieces(pieces) => self.tally.add_generated(pieces.len()),
            Event::Ended(outcome) => {
                self.n_open -= 1;
                self.usage.n_generated += outcome.n_generated;
                self.usage.exits.add(&outcome.exits);
                if let Some(drafts) = &outcome.drafts {
                    self.usage.drafts.get_or_insert_default().add(drafts);
                }
                if choice.is_multiple_of(self.n) {
                    self.usage.n_cached += outcome.n_cached;
                }
            }
            Event::Started | Event::Failed(_) => {}
        }
        Ok(Some((choice, event)))
    }
}

/// When a request that comes now is late.
pub fn deadline(timeout: Duration) -> Instant {
    Instant::now() + timeout.min(FOREVER)
}

pub fn timed_out() -> ApiError {
    let message = "the request took too long: see `--timeout`";
    ApiError::new(StatusCode::GATEWAY_TIMEOUT, message).with_code("timeout")
}
