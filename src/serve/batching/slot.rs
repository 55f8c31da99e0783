//! A sequence of the model, and the text that is being generated in it.

use std::collections::VecDeque;

use super::{Event, Job, Outcome, Piece, TokenLogprobs};
use crate::engine::sampling::Sampler;
use crate::engine::{Draft, Drafter, Row, Wants};
use crate::error::Result;
use crate::generate::{Cached, Exits, GeneratedText};
use crate::reference::Output;

/// One sequence. It keeps its cached tokens when its text ends: the next text may begin alike.
#[derive(Default)]
pub struct Slot<'t> {
    /// The positions whose keys and values are there.
    pub cached: Cached,
    /// When a text began here last, counted in texts.
    pub began: u64,
    pub active: Option<Active<'t>>,
}

impl<'t> Slot<'t> {
    /// Tokens at the beginning of a job's prompt that need not be run by a model of `n_cycles`
    /// cycles.
    pub fn n_reusable(&self, job: &Job, n_cycles: usize) -> usize {
        let rule = job.depth.prompt();
        self.cached.n_reusable(&job.prompt, &rule, n_cycles)
    }

    /// The tokens to be run next: the rest of the prompt, or the token drawn last.
    pub fn pending(&self) -> &[u32] {
        match &self.active {
            Some(active) => &active.ids[self.cached.len()..],
            None => &[],
        }
    }

    /// Which text is being generated, counted in texts.
    pub fn text(&self) -> Option<u64> {
        self.active.as_ref().map(|_| self.began)
    }

    /// The token that runs next.
    pub fn next_id(&self) -> Option<u32> {
        self.pending().first().copied()
    }

    /// Whether the text surely has a token to run after that of `row`, the last one that is pending,
    /// unless the text ends with it; and whether the model draws it.
    pub fn goes_on_after(&self, row: &Row, n_ctx: usize) -> bool {
        let Some(active) = &self.active else {
            return false;
        };
        let is_drawn = row.wants.token && !row.wants.logits && row.rule == active.job.depth.drawn;
        let is_last = self.pending().len() <= 1;
        let has_room = self.cached.len() + 2 <= n_ctx;
        let n_after = active.n_tokens() + 2;
        let is_wanted = n_after <= active.job.rules.max_tokens && !active.job.is_abandoned();
        is_drawn && is_last && has_room && is_wanted
    }

    /// Whether tokens of the text can be guessed, as far as it is known.
    pub fn has_guess(&self) -> bool {
        let drafting = self.active.as_ref().and_then(|active| {
            let drafter = active.drafter.as_ref()?;
            drafter.guess(&active.ids, 1)
        });
        drafting.is_some()
    }

    /// The first `n` rows of those that are pending, of sequence `sequence`.
    pub fn rows(&self, sequence: usize, n: usize) -> Vec<Row> {
        let Some(active) = &self.active else {
            return Vec::new();
        };
        let first = self.cached.len();
        let row = |i: usize| Row {
            sequence,
            id: Some(active.ids[i]),
            rule: match i < active.n_prompt {
                true => active.job.depth.prompt(),
                false => active.job.depth.drawn,
            },
            wants: match i + 1 == active.ids.len() {
                true => active.wants,
                false => Wants::NOTHING,
            },
        };
        (first..first + n).map(row).collect()
    }

    /// Rows of guesses after `row`, the last one that is pending; at most `most`. Nothing is drafted
    /// by depth beside rows that may leave the cycles: then it is `without_depth`.
    pub fn guesses(
        &mut self,
        row: &Row,
        most: usize,
        n_ctx: usize,
        without_depth: bool,
    ) -> Vec<Row> {
        let has_room = n_ctx.saturating_sub(self.cached.len() + 1);
        let Some(active) = &mut self.active else {
            return Vec::new();
        };
        let is_wanted = active
            .job
            .rules
            .max_tokens
            .saturating_sub(active.n_tokens() + 1);
        let most = most.min(has_room).min(is_wanted);
        active.draft = match &active.drafter {
            Some(drafter) if without_depth => drafter.from_text(&active.ids, most),
            Some(drafter) => drafter.guess(&active.ids, most),
            None => None,
        };
        let rule = active.job.depth.drawn;
        let ids = active.draft.iter().flat_map(|draft| &draft.ids);
        ids.map(|&id| Row { id, rule, ..*row }).collect()
    }

    /// Begins the empty `text` of a job, with the first `n_cached` tokens of its prompt cached.
    /// Its tokens are drawn by the model where that `draws`, and guessed by a drafter. Returns their
    /// sampler.
    pub fn begin(
        &mut self,
        job: Job,
        text: GeneratedText<'t>,
        n_cached: usize,
        began: u64,
        draws: bool,
        drafter: Option<Drafter>,
    ) -> &Sampler {
        self.cached.truncate(n_cached);
        self.began = began;
        let active = Active {
            drafter,
            ..Active::new(job, text, n_cached, draws)
        };
        &self.active.insert(active).sampler
    }
}

/// A text on its way.
pub struct Active<'t> {
    pub job: Job,
    /// The prompt and the drawn tokens.
    ids: Vec<u32>,
    n_prompt: usize,
    /// The results of the position before a drawn token.
    wants: Wants,
    sampler: Sampler,
    text: GeneratedText<'t>,
    /// Of tokens that are held back, in their order.
    logprobs: VecDeque<TokenLogprobs>,
    n_cached: usize,
    exits: Exits,
    drafter: Option<Drafter>,
    /// The guesses of the pass under way.
    draft: Option<Draft>,
}

impl<'t> Active<'t> {
    fn new(mut job: Job, text: GeneratedText<'t>, n_cached: usize, draws: bool) -> Self {
        let ids = std::mem::take(&mut job.prompt);
        Self {
            sampler: Sampler::new(job.sampling.clone(), &ids),
            text,
            n_prompt: ids.len(),
            ids,
            wants: Wants {
                logits: !draws || job.n_top.is_some(),
                token: draws,
            },
            job,
            logprobs: VecDeque::new(),
            n_cached,
            exits: Exits::default(),
            drafter: None,
            draft: None,
        }
    }

    /// Takes in how many of the guesses of a pass were true. Returns how many there were.
    pub fn learn(&mut self, n_true: usize) -> usize {
        let draft = self.draft.take();
        match (&mut self.drafter, &draft) {
            (Some(drafter), Some(draft)) => drafter.learn(draft, n_true),
            (Some(drafter), None) => drafter.skip(),
            (None, _) => {}
        }
        draft.map_or(0, |draft| draft.ids.len())
    }

    /// Tokens of the text so far.
    pub fn n_tokens(&self) -> usize {
        self.text.n_tokens()
    }

    /// Notes a position that was run.
    pub fn count(&mut self, output: &Output) {
        self.exits.count(output.cycles);
    }

    /// Takes the token drawn after `output`, or draws it from its logits, and gives out the part of the text that is
    /// certain. With `is_full` the context has no room to run the token. Returns the result of the
    /// text once it has ended.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub fn draw(&mut self, output: &Output, is_full: bool) -> Result<Option<Outcome>> {
        let id = match output.drawn {
            Some(id) => {
                self.sampler.record(id);
                id
            }
            None => self.sampler.sample(&output.logits),
        };
        let n_before = self.text.n_tokens();
        // Before the text grows: candidates are named by where they would have stood.
        let name = |id: u32| self.text.name(id);
        let logprobs = self.job.n_top;
        let logprobs = logprobs.map(|n_top| TokenLogprobs::new(&output.logits, id, n_top, name));
        let logprobs = logprobs.transpose()?;
        self.text.push(id, output, is_full)?;
        self.ids.push(id);
        if self.text.n_tokens() > n_before {
            self.logprobs.extend(logprobs);
        }
        let released = self.text.release().into_iter();
        let pieces: Vec<Piece> = released
            .map(|token| Piece {
                id: token.id,
                text: token.text,
                logprobs: self.logprobs.pop_front(),
            })
            .collect();
        if !pieces.is_empty() {
            self.job.tell(Event::Pieces(pieces));
        }
        Ok(self.text.finish().map(|finish| Outcome {
            finish,
            n_cached: self.n_cached,
            n_generated: self.text.n_tokens(),
            exits: self.exits.clone(),
            drafts: self.drafter.as_ref().map(|drafter| drafter.counts.clone()),
        }))
    }
}
