//! From prompt ids to a stream of tokens: sampling, stop rules, statistics.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;
use web_time::Instant;

use crate::engine::sampling::Sampler;
use crate::engine::{Decoding, Engine, Logits, Profile, Work};
use crate::error::Result;
use crate::model::Model;
use crate::model::tokenizer::{TextStream, Tokenizer};
use crate::reference::Output;

/// When generation ends, besides a full context.
pub struct StopRules {
    pub max_tokens: usize,
    /// Token ids that end the text; they are not given out.
    pub eos: Vec<u32>,
    /// Texts that end the text; neither they nor what follows is given out.
    pub strings: Vec<String>,
    /// Somebody else may set this to end the text, be it in the prompt.
    pub interrupt: Arc<AtomicBool>,
}

impl StopRules {
    /// Ends where the model does, and after `max_tokens`.
    pub fn of(model: &Model, max_tokens: usize) -> Self {
        Self {
            max_tokens,
            eos: model.eos().to_vec(),
            strings: Vec::new(),
            interrupt: Arc::default(),
        }
    }
}

/// Positions of a prompt that are run between two looks at [`StopRules::interrupt`].
const PROMPT_BATCH: usize = 128;

/// One generated token.
#[derive(Clone, Debug, Serialize)]
pub struct Token {
    /// Counted from 0 within the generated text.
    pub index: usize,
    pub id: u32,
    /// The text that this token completed; empty inside a character.
    pub text: String,
    /// Cycles that the position ran from whose logits the token was drawn.
    pub cycles: usize,
    /// The score of each of those cycles; empty without a pool.
    pub scores: Vec<f32>,
}

/// Why generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// `max_tokens` were generated.
    Length,
    /// The model ended its text.
    Eos,
    /// A stop text came.
    StopString,
    /// The context is full.
    Context,
    /// The receiver wants no more, or somebody set [`StopRules::interrupt`].
    Interrupted,
}

/// What a generation came to.
#[derive(Clone, Debug)]
pub struct Summary {
    pub finish: Finish,
    /// Positions of the prompt that were run: all, unless it was interrupted.
    pub n_prompt: usize,
    pub n_generated: usize,
    pub prompt_time: Duration,
    /// Passes after the prompt, and the time they took.
    pub n_passes: usize,
    pub pass_time: Duration,
    /// Positions (prompt and generated) by the cycles they ran, from 1.
    pub exits: Vec<usize>,
    /// What the device was asked to do in the passes after the prompt.
    pub work: Work,
    /// Of the prompt, where the engine's profile was started.
    pub prompt_profile: Option<Profile>,
    /// Of the passes after it.
    pub profile: Option<Profile>,
}

impl Summary {
    /// Mean cycles over all positions.
    pub fn mean_cycles(&self) -> f64 {
        let positions: usize = self.exits.iter().sum();
        let cycles: usize = (1..).zip(&self.exits).map(|(c, n)| c * n).sum();
        cycles as f64 / positions.max(1) as f64
    }

    /// A share of `n` for each pass after the prompt.
    pub fn per_pass(&self, n: u64) -> f64 {
        n as f64 / self.n_passes.max(1) as f64
    }

    fn count_prompt(&mut self, outputs: &[Output], start: Instant) {
        self.n_prompt += outputs.len();
        self.prompt_time = start.elapsed();
        self.count(outputs);
    }

    fn count(&mut self, outputs: &[Output]) {
        for output in outputs {
            if self.exits.len() < output.cycles {
                self.exits.resize(output.cycles, 0);
            }
            self.exits[output.cycles - 1] += 1;
        }
    }
}

/// Runs the prompt and then token after token. `receive` gets every token as soon as its text is
/// certain to be part of the output. Where the device draws the tokens it works ahead; what it
/// computed past the end is neither given out nor counted.
pub async fn generate(
    engine: &mut Engine<'_>,
    tokenizer: Option<&Tokenizer>,
    prompt: &[u32],
    sampler: &mut Sampler,
    rules: &StopRules,
    mut receive: impl FnMut(&Token) -> ControlFlow<()>,
) -> Result<Summary> {
    let mut summary = Summary {
        finish: Finish::Length,
        n_prompt: 0,
        n_generated: 0,
        prompt_time: Duration::ZERO,
        n_passes: 0,
        pass_time: Duration::ZERO,
        exits: Vec::new(),
        work: Work::default(),
        prompt_profile: None,
        profile: None,
    };
    let interrupted = || rules.interrupt.load(Ordering::Relaxed);
    let start = Instant::now();
    // The last batch brings the first token along.
    let split = (prompt.len().max(1) - 1) / PROMPT_BATCH * PROMPT_BATCH;
    let (before, end) = prompt.split_at(split);
    for batch in before.chunks(PROMPT_BATCH) {
        if interrupted() {
            summary.finish = Finish::Interrupted;
            return Ok(summary);
        }
        let outputs = engine.forward(batch, Logits::Last).await?;
        summary.count_prompt(&outputs, start);
    }
    if interrupted() {
        summary.finish = Finish::Interrupted;
        return Ok(summary);
    }
    // The last token is given out without a pass of its own.
    let n_passes = rules.max_tokens.saturating_sub(1);
    let (mut decoding, outputs) = Decoding::start(engine, sampler, end, n_passes).await?;
    summary.count_prompt(&outputs, start);
    let mut last = outputs.into_iter().next_back().unwrap_or_default();
    summary.prompt_profile = decoding.engine.take_profile();
    let work_before = decoding.engine.work();
    let mut stream = tokenizer.map(TextStream::new);
    let mut held = HeldTokens::new(&rules.strings);
    let start = Instant::now();
    while summary.n_generated < rules.max_tokens {
        if interrupted() {
            summary.finish = Finish::Interrupted;
            break;
        }
        let id = decoding.id();
        if rules.eos.contains(&id) {
            summary.finish = Finish::Eos;
            break;
        }
        let is_full = decoding.engine.n_positions() == decoding.engine.n_ctx();
        let is_last = summary.n_generated + 1 == rules.max_tokens || is_full;
        let text = match &mut stream {
            Some(stream) if is_last => stream.push(id)? + &stream.finish()?,
            Some(stream) => stream.push(id)?,
            None => String::new(),
        };
        let scores = last.scores.iter().take(last.cycles).copied().collect();
        let stopped = held.push(Token {
            index: summary.n_generated,
            id,
            text,
            cycles: last.cycles,
            scores,
        });
        summary.n_generated += 1;
        if held.release(stopped, &mut receive).is_break() {
            summary.finish = Finish::Interrupted;
            return Ok(summary);
        }
        if stopped {
            summary.finish = Finish::StopString;
            break;
        }
        if summary.n_generated == rules.max_tokens {
            break;
        }
        if is_full {
            summary.finish = Finish::Context;
            break;
        }
        last = decoding.step().await?;
        summary.n_passes += 1;
        summary.pass_time = start.elapsed();
        summary.work = decoding.engine.work().since(&work_before);
        summary.count(std::slice::from_ref(&last));
    }
    summary.profile = decoding.engine.take_profile();
    if held.release(true, &mut receive).is_break() {
        summary.finish = Finish::Interrupted;
    }
    Ok(summary)
}

/// Tokens whose text may yet turn out to be the beginning of a stop text.
struct HeldTokens<'a> {
    stops: &'a [String],
    tokens: Vec<Token>,
}

impl<'a> HeldTokens<'a> {
    fn new(stops: &'a [String]) -> Self {
        Self {
            stops,
            tokens: Vec::new(),
        }
    }

    /// Adds a token; true when a stop text is complete. Its text is cut off then.
    fn push(&mut self, token: Token) -> bool {
        self.tokens.push(token);
        let text: String = self.tokens.iter().map(|t| t.text.as_str()).collect();
        let found = self
            .stops
            .iter()
            .filter_map(|s| text.find(s.as_str()))
            .min();
        let Some(mut keep) = found else { return false };
        for token in &mut self.tokens {
            let n = keep.min(token.text.len());
            token.text.truncate(n);
            keep -= n;
        }
        true
    }

    /// Gives out the tokens, unless their text ends in the beginning of a stop text.
    fn release(
        &mut self,
        all: bool,
        receive: &mut impl FnMut(&Token) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if !all {
            let text: String = self.tokens.iter().map(|t| t.text.as_str()).collect();
            let may_stop = |stop: &String| {
                let starts = text.char_indices().map(|(i, _)| &text[i..]);
                starts.into_iter().any(|tail| stop.starts_with(tail))
            };
            if self.stops.iter().any(may_stop) {
                return ControlFlow::Continue(());
            }
        }
        self.tokens.drain(..).try_for_each(|token| receive(&token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let stops: Vec<String> = stops.iter().map(|s| s.to_string()).collect();
        let mut held = HeldTokens::new(&stops);
        let mut out = String::new();
        for (index, piece) in pieces.iter().enumerate() {
            let stopped = held.push(Token {
                index,
                id: 0,
                text: piece.to_string(),
                cycles: 1,
                scores: Vec::new(),
            });
            let mut receive = |t: &Token| {
                out.push_str(&t.text);
                ControlFlow::Continue(())
            };
            let _ = held.release(stopped, &mut receive);
            if stopped {
                return (out, true);
            }
        }
        (out, false)
    }

    #[test]
    fn a_stop_text_across_tokens_is_cut_off() {
        let (out, stopped) = run(&["\n\n"], &["one\n", "two\n", "\nthree"]);
        assert_eq!((out.as_str(), stopped), ("one\ntwo", true));
    }

    #[test]
    fn the_earliest_stop_text_counts() {
        let (out, stopped) = run(&["later", "so"], &["so much later"]);
        assert_eq!((out.as_str(), stopped), ("", true));
    }

    #[test]
    fn text_that_only_begins_like_a_stop_is_released() {
        let (out, stopped) = run(&["END"], &["a", "E", "N", "x", "é"]);
        assert_eq!((out.as_str(), stopped), ("aENxé", false));
    }
}
