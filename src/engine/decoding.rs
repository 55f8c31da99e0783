//! A generation token by token: drawn where the logits are, ahead of the host or verified several at
//! a time, or on the host from logits it has read.

use std::collections::VecDeque;

use super::drafts::{Draft, DraftCounts, Drafter, n_valid};
use super::options::Logits;
use super::row::{Row, Wants};
use super::sampling::Sampler;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::reference::Output;

/// A prompt that was run in the first sequence, and the tokens that follow it.
pub struct Decoding<'e, 'm> {
    pub engine: &'e mut Engine<'m>,
    sampler: &'e mut Sampler,
    /// Whether the engine draws.
    is_ahead: bool,
    /// Guesses, where the engine draws and is to guess.
    drafter: Option<Drafter>,
    /// Results of a verification that were not given out: their positions are in the cache.
    verified: VecDeque<Output>,
    /// No batch is submitted ahead for this position or a later one.
    end: usize,
    id: u32,
}

impl<'e, 'm> Decoding<'e, 'm> {
    /// Runs `prompt`, of at least one token, and draws the first token. As far as is known,
    /// `n_passes` passes will follow. One output for each token of the prompt, without logits
    /// where the engine draws.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`] without a prompt, be there positions in the cache: their logits are
    /// not kept; those of [`Engine::forward`].
    pub async fn start(
        engine: &'e mut Engine<'m>,
        sampler: &'e mut Sampler,
        prompt: &[u32],
        n_passes: usize,
    ) -> Result<(Self, Vec<Output>)> {
        if prompt.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        let is_ahead = engine.draws(&sampler.options);
        let wants = match is_ahead {
            true => Wants::TOKEN,
            false => Wants::LOGITS,
        };
        if is_ahead {
            engine.set_sampler(0, sampler);
        }
        let rule = engine.rules().prompt();
        let running = engine.forward_by(rule, prompt, Logits::Last, wants);
        let outputs = running.await?;
        let end = engine.n_positions().saturating_add(n_passes);
        let drafter = match is_ahead {
            true => engine.drafter(engine.drafts(), &engine.rules().drawn),
            false => None,
        };
        let mut decoding = Self {
            end: end.min(engine.n_ctx()),
            engine,
            sampler,
            is_ahead,
            drafter,
            verified: VecDeque::new(),
            id: 0,
        };
        decoding.keep(&outputs);
        Ok((decoding, outputs))
    }

    /// The token drawn last.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// How guesses have turned out; `None` where none are made.
    pub fn draft_counts(&self) -> Option<&DraftCounts> {
        self.drafter.as_ref().map(|drafter| &drafter.counts)
    }

    /// Positions run so far, besides those ahead.
    pub fn n_positions(&self) -> usize {
        let ahead: usize = self
            .engine
            .under_way
            .iter()
            .map(|(rows, _)| rows.len())
            .sum();
        self.engine.n_positions() - ahead - self.verified.len()
    }

    /// Runs the token drawn last and draws the next one.
    ///
    /// # Errors
    /// Those of [`Engine::forward`].
    pub async fn step(&mut self) -> Result<Output> {
        let rule = self.engine.rules().drawn;
        let outputs = if let Some(output) = self.next_verified().await? {
            vec![output]
        } else if self.is_ahead {
            self.submit_ahead().await?;
            self.engine.take().await?
        } else {
            let ids = [self.id];
            let running = self
                .engine
                .forward_by(rule, &ids, Logits::Last, Wants::LOGITS);
            running.await?
        };
        self.keep(&outputs);
        Ok(outputs.into_iter().next_back().unwrap_or_default())
    }

    /// The next result of a verification, which is run where none is left and there are guesses.
    /// `None` where there are none.
    async fn next_verified(&mut self) -> Result<Option<Output>> {
        if self.verified.is_empty() {
            // The tokens of batches under way come first.
            let draft = match self.engine.under_way.is_empty() {
                true => self.guess(),
                false => None,
            };
            match draft {
                Some(draft) => self.verify(&draft).await?,
                None => self.drafter.iter_mut().for_each(Drafter::skip),
            }
        }
        Ok(self.verified.pop_front())
    }

    /// Guesses of what follows the token drawn last.
    fn guess(&self) -> Option<Draft> {
        let left = self.end.saturating_sub(self.engine.n_positions());
        let drafter = self.drafter.as_ref()?;
        drafter.guess(&self.sampler.seen, left.saturating_sub(1))
    }

    /// Runs the token drawn last and guesses of those after it, and keeps those that are true.
    async fn verify(&mut self, draft: &Draft) -> Result<()> {
        let rule = self.engine.rules().drawn;
        let row = |id: Option<u32>| Row {
            sequence: 0,
            id,
            rule,
            wants: Wants::TOKEN,
        };
        let ids = std::iter::once(Some(self.id)).chain(draft.ids.iter().copied());
        let rows: Vec<Row> = ids.map(row).collect();
        let first = self.engine.n_positions();
        let run = self.engine.run(&rows).await;
        let mut outputs = match run {
            // There may be no memory for guesses, or nothing that they can be drawn from.
            Err(_) => self.engine.run(&rows[..1]).await?,
            Ok(outputs) => outputs,
        };
        let n_guesses = outputs.len() - 1;
        outputs.truncate(n_valid(&draft.ids[..n_guesses], &outputs));
        self.engine.truncate(first + outputs.len());
        if let Some(drafter) = &mut self.drafter {
            drafter.learn(draft, outputs.len() - 1);
        }
        self.verified = outputs.into();
        Ok(())
    }

    /// Submits the next pass, and those after it that are surely wanted: none where there are
    /// guesses, which wait for the tokens under way.
    async fn submit_ahead(&mut self) -> Result<()> {
        // Where nothing is under way, nothing was guessed just before.
        let waits = !self.engine.under_way.is_empty() && self.guess().is_some();
        let most = if waits { 1 } else { self.engine.ahead() };
        let mut row = Row {
            sequence: 0,
            id: None,
            rule: self.engine.rules().drawn,
            wants: Wants::TOKEN,
        };
        // What was drawn last may have been drawn in the middle of a verification.
        if self.drafter.is_some() && self.engine.under_way.is_empty() {
            row.id = Some(self.id);
        }
        let is_wanted = |engine: &Engine, end: usize| match engine.under_way.len() {
            0 => true,
            n => n < most && engine.n_positions() < end,
        };
        while is_wanted(self.engine, self.end) {
            let n_before = self.engine.under_way.len();
            let submitted = self.engine.submit(&[row]).await;
            row.id = None;
            if let Err(e) = submitted {
                // Where nothing was begun, tokens under way are given out before the error.
                let is_begun = self.engine.under_way.len() > n_before;
                return match n_before > 0 && !is_begun {
                    true => Ok(()),
                    false => Err(e),
                };
            }
        }
        Ok(())
    }

    /// Takes in the token after the last of these positions.
    fn keep(&mut self, outputs: &[Output]) {
        let Some(output) = outputs.last() else {
            return;
        };
        self.id = match output.drawn {
            Some(id) => {
                self.sampler.record(id);
                id
            }
            None => self.sampler.sample(&output.logits),
        };
    }
}

impl Drop for Decoding<'_, '_> {
    /// Passes that nobody takes are forgotten: the keys and values that they wrote lie past the end
    /// of the KV cache. So are verified tokens that nobody takes.
    fn drop(&mut self) {
        let n_taken = self.n_positions();
        self.engine.forget_under_way();
        self.engine.truncate(n_taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Options;
    use crate::engine::sampling::SamplingOptions;
    use crate::model::{BUILTIN, Fetch, Model};

    #[test]
    fn there_must_be_something_to_generate_from() {
        let model = Model::open(BUILTIN, Fetch::Never).unwrap();
        let mut engine = Engine::on_host(&model, &Options::of(&model)).unwrap();
        for n_before in [0, 2] {
            pollster::block_on(engine.forward(&[1, 2][..n_before], Logits::Last)).unwrap();
            let mut sampler = Sampler::new(SamplingOptions::default(), &[]);
            let started = pollster::block_on(Decoding::start(&mut engine, &mut sampler, &[], 3));
            assert!(matches!(started, Err(Error::EmptyPrompt)));
            drop(started);
            assert_eq!(engine.n_positions(), n_before);
        }
    }
}
