//! From prompt ids to a stream of tokens: sampling, stop rules, statistics.

mod cached;
mod exits;
mod stops;
mod text;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use cached::Cached;
pub use exits::Exits;
pub use text::{Finish, GeneratedText, Token};
use web_time::Instant;

use crate::engine::sampling::Sampler;
use crate::engine::{Decoding, DeviceStats, DraftCounts, Engine, Logits, Profile};
use crate::error::Result;
use crate::model::Model;
use crate::model::tokenizer::Tokenizer;
use crate::reference::Output;

/// When generation ends, besides a full context.
#[derive(Clone)]
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

/// The statistics of a generation, and why it ended.
#[derive(Clone, Debug)]
pub struct Summary {
    pub finish: Finish,
    /// Positions of the prompt that were run: all, unless it was interrupted.
    pub n_prompt: usize,
    pub n_generated: usize,
    pub prompt_time: Duration,
    /// Positions run after the prompt, each in a pass of its own but for guesses, and the time they
    /// took.
    pub n_passes: usize,
    pub pass_time: Duration,
    /// Positions by the cycles after which they exited, prompt and generated.
    pub exits: Exits,
    /// The work that the device was given in the passes after the prompt.
    pub work: DeviceStats,
    /// How guesses turned out; `None` where none were made.
    pub drafts: Option<DraftCounts>,
    /// The profile of the prompt, where the engine's profile was started.
    pub prompt_profile: Option<Profile>,
    /// The profile of the passes after the prompt, where the engine's profile was started.
    pub profile: Option<Profile>,
}

impl Summary {
    /// Mean cycles over all positions.
    pub fn mean_cycles(&self) -> f64 {
        self.exits.mean_cycles()
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
        outputs.iter().for_each(|o| self.exits.count(o.cycles));
    }
}

/// Runs the prompt and then token after token. `receive` gets every token as soon as its text is
/// certain to be part of the output. Where the device draws the tokens it works ahead, or verifies
/// guesses ([`Drafts`](crate::engine::Drafts)); tokens computed past the end are neither given out
/// nor counted, but for the guesses among them.
///
/// # Errors
/// [`Error::EmptyPrompt`](crate::Error::EmptyPrompt) without a prompt; those of
/// [`Engine::forward`] and of the tokenizer.
pub async fn generate(
    engine: &mut Engine<'_>,
    tokenizer: Option<&Tokenizer>,
    prompt: &[u32],
    sampler: &mut Sampler,
    rules: &StopRules,
    receive: impl FnMut(&Token) -> ControlFlow<()>,
) -> Result<Summary> {
    generate_after(engine, tokenizer, prompt, 0, sampler, rules, receive).await
}

/// Continues the prompt `ids`, whose first `n_cached` ids the engine has run already: runs the
/// rest of it and then token after token, as [`generate`] does.
pub async fn generate_after(
    engine: &mut Engine<'_>,
    tokenizer: Option<&Tokenizer>,
    ids: &[u32],
    n_cached: usize,
    sampler: &mut Sampler,
    rules: &StopRules,
    mut receive: impl FnMut(&Token) -> ControlFlow<()>,
) -> Result<Summary> {
    let prompt = &ids[n_cached..];
    let mut summary = Summary {
        finish: Finish::Length,
        n_prompt: 0,
        n_generated: 0,
        prompt_time: Duration::ZERO,
        n_passes: 0,
        pass_time: Duration::ZERO,
        exits: Exits::default(),
        work: DeviceStats::default(),
        drafts: None,
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
    let mut text = GeneratedText::new(tokenizer, ids, rules)?;
    let mut is_wanted = true;
    let start = Instant::now();
    while text.finish().is_none() {
        if interrupted() {
            text.interrupt()?;
            break;
        }
        let is_full = decoding.n_positions() == decoding.engine.n_ctx();
        text.push(decoding.id(), &last, is_full)?;
        if text.release().iter().try_for_each(&mut receive).is_break() {
            is_wanted = false;
            text.interrupt()?;
        }
        if text.finish().is_some() {
            break;
        }
        last = decoding.step().await?;
        summary.n_passes += 1;
        summary.pass_time = start.elapsed();
        summary.work = decoding.engine.work().since(&work_before);
        summary.count(std::slice::from_ref(&last));
    }
    // Tokens that were held back when an interrupt came.
    if is_wanted && text.release().iter().try_for_each(&mut receive).is_break() {
        text.interrupt()?;
    }
    summary.n_generated = text.n_tokens();
    summary.finish = text.finish().unwrap_or(Finish::Length);
    summary.drafts = decoding.draft_counts().cloned();
    summary.profile = decoding.engine.take_profile();
    Ok(summary)
}
