//! Jobs that wait for a sequence, between the requests' threads and the batcher's.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Job;

/// Jobs in the order they came, and a bound on how many there may be.
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    /// Jobs that may wait, besides those that have a sequence or could have one.
    limit: usize,
    n_sequences: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    n_active: usize,
    is_closed: bool,
}

/// Why jobs are not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too many wait.
    Full,
    /// The server ends.
    Closed,
}

impl Queue {
    /// At most `limit` jobs wait for one of `n_sequences` sequences.
    pub fn new(limit: usize, n_sequences: usize) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            limit,
            n_sequences,
        }
    }

    /// The most jobs that one request may have.
    pub fn capacity(&self) -> usize {
        self.limit.saturating_add(self.n_sequences)
    }

    /// Takes all of `jobs`, or none.
    ///
    /// # Errors
    /// Where they are not taken.
    pub fn push(&self, jobs: Vec<Job>) -> Result<(), Refused> {
        let mut state = self.lock();
        state.waiting.retain(|job| !job.is_abandoned());
        if state.is_closed {
            return Err(Refused::Closed);
        }
        if state.waiting.len() + state.n_active + jobs.len() > self.capacity() {
            return Err(Refused::Full);
        }
        state.waiting.extend(jobs);
        self.changed.notify_one();
        Ok(())
    }

    /// Takes the oldest jobs out, at most `n`; each is active until [`Queue::done`].
    pub fn take(&self, n: usize) -> Vec<Job> {
        let mut state = self.lock();
        state.waiting.retain(|job| !job.is_abandoned());
        let n = n.min(state.waiting.len());
        state.n_active += n;
        state.waiting.drain(..n).collect()
    }

    /// Notes that an active job has ended.
    pub fn done(&self) {
        self.lock().n_active -= 1;
    }

    /// Waits for a job, for `timeout` at most where there is one. False once the queue is closed.
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        let state = self.lock();
        let is_idle = |state: &mut State| !state.is_closed && state.waiting.is_empty();
        let state = match timeout {
            Some(timeout) => {
                let waited = self.changed.wait_timeout_while(state, timeout, is_idle);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => {
                let waited = self.changed.wait_while(state, is_idle);
                waited.unwrap_or_else(PoisonError::into_inner)
            }
        };
        !state.is_closed
    }

    /// Takes no more jobs, and drops those that wait.
    pub fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        state.waiting.clear();
        self.changed.notify_one();
    }

    pub fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Jobs that wait, and jobs that have a sequence.
    pub fn lengths(&self) -> (usize, usize) {
        let state = self.lock();
        (state.waiting.len(), state.n_active)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
