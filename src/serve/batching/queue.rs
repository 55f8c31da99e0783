//! Jobs that wait for a sequence, between the requests' threads and the batcher's.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Job;

/// Jobs of requests that take turns, and a bound on how many jobs there may be.
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    /// Jobs that may wait, besides those that have a sequence or could have one.
    limit: usize,
    n_sequences: usize,
}

#[derive(Default)]
struct State {
    /// The jobs of each request, none without any; the first one has the next turn.
    waiting: VecDeque<VecDeque<Job>>,
    n_active: usize,
    is_closed: bool,
}

impl State {
    fn n_waiting(&self) -> usize {
        self.waiting.iter().map(VecDeque::len).sum()
    }

    /// Forgets jobs that nobody waits for.
    fn drop_abandoned(&mut self) {
        for jobs in &mut self.waiting {
            jobs.retain(|job| !job.is_abandoned());
        }
        self.waiting.retain(|jobs| !jobs.is_empty());
    }

    /// The next job: one of the request whose turn it is, the next request's turn comes then.
    fn take(&mut self) -> Option<Job> {
        let mut jobs = self.waiting.pop_front()?;
        let job = jobs.pop_front();
        if !jobs.is_empty() {
            self.waiting.push_back(jobs);
        }
        job
    }
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

    fn capacity(&self) -> usize {
        self.limit.saturating_add(self.n_sequences)
    }

    /// The most jobs that one request may have: half of all, so that others find room, but as
    /// many as there are sequences in any case.
    pub fn most_of_one(&self) -> usize {
        (self.capacity() / 2).max(self.n_sequences)
    }

    /// Takes all of `jobs`, which are those of one request, or none.
    ///
    /// # Errors
    /// Where they are not taken.
    pub fn push(&self, jobs: Vec<Job>) -> Result<(), Refused> {
        let mut state = self.lock();
        state.drop_abandoned();
        if state.is_closed {
            return Err(Refused::Closed);
        }
        if state.n_waiting() + state.n_active + jobs.len() > self.capacity() {
            return Err(Refused::Full);
        }
        if !jobs.is_empty() {
            state.waiting.push_back(jobs.into());
        }
        self.changed.notify_one();
        Ok(())
    }

    /// Takes jobs out, at most `n`, of one request after the other; each is active until
    /// [`Queue::done`].
    pub fn take(&self, n: usize) -> Vec<Job> {
        let mut state = self.lock();
        state.drop_abandoned();
        let mut jobs = Vec::new();
        while jobs.len() < n
            && let Some(job) = state.take()
        {
            jobs.push(job);
        }
        state.n_active += jobs.len();
        jobs
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
        (state.n_waiting(), state.n_active)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
