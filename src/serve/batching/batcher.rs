//! The loop that owns the model.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::room::{Room, deal};
use super::slot::{Active, Slot};
use super::{Backend, Event, Job, Queue};
use crate::engine::{Drafts, MAX_BATCH, Row, n_valid};
use crate::error::{Error, Result};
use crate::generate::GeneratedText;
use crate::model::tokenizer::Tokenizer;
use crate::reference::Output;
use crate::serve::health::Health;
use crate::serve::metrics::Metrics;

/// Tokens of prompts that a step takes at most while texts are being generated, however quick it
/// is: each of these waits for the step to end. A longer prompt is spread over several steps.
const PROMPT_TOKENS: usize = 64;

/// How long a model that could not be opened again is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// A pass that was submitted.
struct Pass {
    /// Each with the text it belongs to.
    rows: Vec<(Row, Option<u64>)>,
    /// Tokens of prompts among them.
    n_prompt: usize,
    start: Duration,
}

/// Extends all texts together. In each step every text gets its next token, and new prompts get
/// what room is left.
pub struct Batcher<'t, B, F> {
    /// `None` after a fault, until `open` gives another.
    backend: Option<B>,
    open: F,
    slots: Vec<Slot<'t>>,
    /// Passes that were submitted and not waited for.
    under_way: VecDeque<Pass>,
    /// Texts that have begun.
    n_begun: u64,
    room: Room,
    /// The time since any moment.
    clock: Box<dyn Fn() -> Duration + Send>,
    tokenizer: &'t Tokenizer,
    queue: &'t Queue,
    health: &'t Health,
    metrics: &'t Metrics,
}

impl<'t, B: Backend, F: FnMut() -> Result<B>> Batcher<'t, B, F> {
    /// `open` makes a backend of the same size where `backend` has failed.
    pub fn new(
        backend: B,
        open: F,
        tokenizer: &'t Tokenizer,
        queue: &'t Queue,
        health: &'t Health,
        metrics: &'t Metrics,
    ) -> Self {
        let start = Instant::now();
        Self {
            slots: (0..backend.n()).map(|_| Slot::default()).collect(),
            backend: Some(backend),
            under_way: VecDeque::new(),
            open,
            n_begun: 0,
            room: Room::new(),
            clock: Box::new(move || start.elapsed()),
            tokenizer,
            queue,
            health,
            metrics,
        }
    }

    /// Replaces the clock, for tests.
    #[cfg(test)]
    pub fn with_clock(self, clock: impl Fn() -> Duration + Send + 'static) -> Self {
        let clock = Box::new(clock);
        Self { clock, ..self }
    }

    /// Works until the queue is closed.
    pub fn run(mut self) {
        while !self.queue.is_closed() {
            if self.backend.is_none() && !self.reopen() {
                self.queue.wait(Some(RETRY));
                continue;
            }
            self.step();
            let is_idle = self.slots.iter().all(|slot| slot.active.is_none());
            if is_idle && self.backend.is_some() {
                self.queue.wait(None);
            }
        }
        self.fail("the server ends");
    }

    /// Waits for one pass over the model, if there is anything to run. Where the next tokens of all
    /// texts are drawn by the model, the pass after it is submitted before.
    pub fn step(&mut self) {
        if self.under_way.is_empty() {
            self.drop_abandoned();
            self.admit();
            let (rows, n_prompt) = self.plan();
            let rows = match n_prompt {
                0 => self.with_guesses(rows),
                _ => rows,
            };
            if rows.is_empty() || self.submit(rows, n_prompt).is_none() {
                return;
            }
        }
        if let Some(rows) = self.rows_ahead()
            && self.submit(rows, 0).is_none()
        {
            return;
        }
        let (Some(pass), Some(backend)) = (self.under_way.pop_front(), &mut self.backend) else {
            return;
        };
        match backend.take() {
            Ok(outputs) => {
                let n_ctx = backend.n_ctx();
                let time = (self.clock)().saturating_sub(pass.start);
                self.room.learn(pass.rows.len(), pass.n_prompt, time);
                let mut outputs = outputs.as_slice();
                for rows in pass.rows.chunk_by(is_followed_by_guess) {
                    let (of_rows, others) = outputs.split_at(rows.len());
                    outputs = others;
                    self.advance_all(rows, of_rows, n_ctx);
                }
            }
            Err(e) => self.lose(&e),
        }
    }

    /// Submits a pass; `None` where that fails.
    fn submit(&mut self, rows: Vec<Row>, n_prompt: usize) -> Option<()> {
        let start = (self.clock)();
        if let Err(e) = self.backend.as_mut()?.submit(&rows) {
            self.lose(&e);
            return None;
        }
        let with_text = |row: Row| (row, self.slots[row.sequence].text());
        self.under_way.push_back(Pass {
            rows: rows.into_iter().map(with_text).collect(),
            n_prompt,
            start,
        });
        Some(())
    }

    /// The rows of the pass after the one under way, as far as they are known before it is done: the
    /// tokens that it draws. `None` where a text may have no further token, where somebody waits, or
    /// where nobody waits any more.
    fn rows_ahead(&mut self) -> Option<Vec<Row>> {
        let backend = self
            .backend
            .as_ref()
            .filter(|backend| backend.runs_ahead())?;
        let [pass] = self.under_way.make_contiguous() else {
            return None;
        };
        let n_ctx = backend.n_ctx();
        let next = |(row, text): &(Row, Option<u64>)| {
            let slot = &self.slots[row.sequence];
            let goes_on = slot.text() == *text && slot.goes_on_after(row, n_ctx);
            // Guesses wait until the tokens before them are known.
            let goes_on = goes_on && !slot.has_guess();
            goes_on.then_some(Row { id: None, ..*row })
        };
        let rows: Option<Vec<Row>> = pass.rows.iter().map(next).collect();
        let n_texts = self.slots.iter().filter(|s| s.active.is_some()).count();
        let (n_waiting, _) = self.queue.lengths();
        rows.filter(|rows| rows.len() == n_texts && n_waiting == 0)
    }

    /// Frees the sequences whose texts nobody waits for.
    fn drop_abandoned(&mut self) {
        for slot in &mut self.slots {
            let is_abandoned = |active: &mut Active| active.job.is_abandoned();
            if slot.active.take_if(is_abandoned).is_some() {
                self.queue.done();
            }
        }
    }

    /// Gives free sequences to the jobs that wait.
    fn admit(&mut self) {
        let n_free = self.slots.iter().filter(|s| s.active.is_none()).count();
        for job in self.queue.take(n_free) {
            // Nothing would ever be run for it.
            if job.prompt.is_empty() {
                self.queue.done();
                job.tell(Event::Failed(Error::EmptyPrompt.to_string()));
                continue;
            }
            self.begin(job);
        }
    }

    /// Gives a job the free sequence that has most of its beginning cached; among equals, the one
    /// that was left alone longest.
    fn begin(&mut self, job: Job) {
        let free = self.slots.iter().enumerate();
        let free = free.filter(|(_, slot)| slot.active.is_none());
        let Some(backend) = &mut self.backend else {
            return;
        };
        let n_cycles = backend.n_cycles();
        let reusable = free.map(|(i, slot)| (i, slot.n_reusable(&job, n_cycles), slot.began));
        let best = reusable.min_by_key(|&(_, n, began)| (Reverse(n), began));
        let Some((sequence, n_cached, _)) = best else {
            return;
        };
        let text = match GeneratedText::new(Some(self.tokenizer), &job.prompt, &job.rules) {
            Ok(text) => text,
            Err(e) => {
                self.queue.done();
                job.tell(Event::Failed(e.to_string()));
                return;
            }
        };
        backend.truncate(sequence, n_cached);
        self.metrics.begin(job.prompt.len(), n_cached);
        job.tell(Event::Started);
        self.n_begun += 1;
        let draws = backend.draws(&job.sampling);
        let drafter = match draws {
            true => backend.drafter(job.drafts, &job.depth.drawn),
            false => None,
        };
        let slot = &mut self.slots[sequence];
        let sampler = slot.begin(job, text, n_cached, self.n_begun, draws, drafter);
        if draws {
            backend.set_sampler(sequence, sampler);
        }
    }

    /// The tokens of the next pass: the next one of every text, then parts of prompts; and how many
    /// tokens of prompts there are.
    fn plan(&self) -> (Vec<Row>, usize) {
        let pending = self.slots.iter().enumerate();
        let mut pending: Vec<_> = pending.map(|(i, slot)| (i, slot, slot.pending())).collect();
        pending.retain(|(_, _, ids)| !ids.is_empty());
        pending.sort_by_key(|(_, slot, ids)| (ids.len() > 1, slot.began));
        let n_texts = pending.iter().filter(|(.., ids)| ids.len() == 1).count();
        let room = match n_texts {
            0 => self.room.tokens(),
            n => self.room.tokens().min(PROMPT_TOKENS).min(MAX_BATCH - n),
        };
        let left: Vec<usize> = pending[n_texts..].iter().map(|p| p.2.len()).collect();
        let dealt = deal(&left, room);
        let n_prompt = dealt.iter().sum();
        let counts = std::iter::repeat_n(1, n_texts).chain(dealt);
        let mut batch = Vec::new();
        for ((sequence, slot, _), n) in pending.into_iter().zip(counts) {
            batch.extend(slot.rows(sequence, n));
        }
        (batch, n_prompt)
    }

    /// Adds guesses to the rows of a pass, each of which is the next of its text, as far as the pass
    /// stays one of few rows: those have the bits of rows alone.
    fn with_guesses(&mut self, rows: Vec<Row>) -> Vec<Row> {
        let Some(backend) = &self.backend else {
            return rows;
        };
        let (n_ctx, n_cycles) = (backend.n_ctx(), backend.n_cycles());
        let leaves = rows.iter().any(|row| row.rule.may_leave(n_cycles));
        let n_texts = rows.len();
        let mut free = (1 + Drafts::MOST).saturating_sub(n_texts);
        let mut all = Vec::with_capacity(n_texts + free);
        for (i, row) in rows.into_iter().enumerate() {
            let share = free / (n_texts - i);
            let slot = &mut self.slots[row.sequence];
            let guesses = slot.guesses(&row, share, n_ctx, leaves);
            free -= guesses.len();
            all.push(row);
            all.extend(guesses);
        }
        all
    }

    /// Takes in the outputs of a row and of the guesses after it, as far as those are true.
    fn advance_all(&mut self, rows: &[(Row, Option<u64>)], outputs: &[Output], n_ctx: usize) {
        let (row, text) = &rows[0];
        let sequence = row.sequence;
        let guesses: Vec<Option<u32>> = rows[1..].iter().map(|(row, _)| row.id).collect();
        let n_valid = n_valid(&guesses, outputs);
        if row.wants.any()
            && self.slots[sequence].text() == *text
            && let Some(active) = &mut self.slots[sequence].active
        {
            let n_guesses = active.learn(n_valid - 1);
            self.metrics.drafts(n_guesses, n_valid - 1);
        }
        for ((row, text), output) in rows.iter().zip(outputs).take(n_valid) {
            // A text that has ended meanwhile has no use for it.
            if self.slots[sequence].text() == *text {
                self.advance(row, output, n_ctx);
            }
        }
        if !guesses.is_empty()
            && let Some(backend) = &mut self.backend
        {
            backend.truncate(sequence, self.slots[sequence].cached.len());
        }
    }

    /// Takes in the output of a position.
    fn advance(&mut self, row: &Row, output: &Output, n_ctx: usize) {
        let slot = &mut self.slots[row.sequence];
        if let Some(id) = row.id.or(slot.next_id()) {
            slot.cached.push(id, row.rule, output.cycles);
        }
        self.metrics.position(output.cycles);
        let is_full = slot.cached.len() == n_ctx;
        let Some(active) = &mut slot.active else {
            return;
        };
        active.count(output);
        if !row.wants.any() {
            return;
        }
        let n_before = active.n_tokens();
        let end = match active.draw(output, is_full) {
            Ok(outcome) => outcome.map(Event::Ended),
            Err(e) => Some(Event::Failed(e.to_string())),
        };
        if n_before == 0 {
            self.metrics.first_token(active.job.since);
        }
        self.metrics.generated(active.n_tokens() - n_before);
        if let Some(end) = end {
            self.end(row.sequence, end);
        }
    }

    /// Frees a sequence and tells who waits for its text, in this order: their next request finds
    /// it free.
    fn end(&mut self, sequence: usize, event: Event) {
        if let Some(active) = self.slots[sequence].active.take() {
            self.queue.done();
            active.job.tell(event);
        }
    }

    /// Gives the backend up after a fault, with all texts at hand.
    fn lose(&mut self, e: &Error) {
        tracing::error!("{e}");
        self.health.set_fault(Some(e.to_string()));
        self.backend = None;
        self.under_way.clear();
        self.fail(&e.to_string());
        self.slots
            .iter_mut()
            .for_each(|slot| slot.cached.truncate(0));
    }

    /// True when there is a backend again; else the jobs that wait are told why not.
    fn reopen(&mut self) -> bool {
        match (self.open)() {
            Ok(backend) => {
                self.backend = Some(backend);
                self.health.set_fault(None);
                true
            }
            Err(e) => {
                tracing::error!("{e}");
                self.health.set_fault(Some(e.to_string()));
                for job in self.queue.take(usize::MAX) {
                    self.queue.done();
                    job.tell(Event::Failed(e.to_string()));
                }
                false
            }
        }
    }

    /// Ends all texts for this reason.
    fn fail(&mut self, reason: &str) {
        for sequence in 0..self.slots.len() {
            self.end(sequence, Event::Failed(reason.to_string()));
        }
    }
}

/// Whether the second of two rows of a pass is a guess of the token drawn at the first.
fn is_followed_by_guess(a: &(Row, Option<u64>), b: &(Row, Option<u64>)) -> bool {
    a.0.wants.token && a.0.sequence == b.0.sequence
}
