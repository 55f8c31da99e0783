//! Rows of guesses themselves: each draws what it would draw alone, and errors that are made on
//! purpose are seen.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use ztt_wgpu::engine::sampling::{Sampler, SamplingOptions};
use ztt_wgpu::engine::{Drafts, Logits, Row, Wants, n_valid};
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::reference::Output;

use super::{Fixture, MODELS, for_rows, samplers};
use crate::adapter;
use crate::compare::same;
use crate::fixtures::trial;

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for name in MODELS {
        trials.push(trial(format!("drafts::rows::{name}::host"), move || {
            rows(name, None)
        }));
        trials.push(adapter::trial(
            format!("drafts::rows::{name}::adapter"),
            move |gpu| rows(name, Some(gpu)),
        ));
    }
    trials.push(trial("drafts::planted_errors::host", || planted(None)));
    trials.push(adapter::trial("drafts::planted_errors::adapter", |gpu| {
        planted(Some(gpu))
    }));
    trials
}

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Error {
    None,
    /// Positions of a false guess and of those after it stay in the cache.
    StaleRows,
    /// A position too many is cut off.
    WrongPosition,
    /// The sampler takes the prompt for one token shorter.
    WrongRandomNumber,
}

/// The tokens of a text without guesses, and the logits that they were drawn from.
fn plain(
    fixture: &Fixture,
    prompt: &[u32],
    sampling: &SamplingOptions,
    n: usize,
) -> Result<Vec<Output>> {
    let mut engine = fixture.engine(&for_rows(fixture.options()))?;
    engine.set_sampler(0, &Sampler::new(sampling.clone(), prompt));
    let (prompt_rule, rule) = (engine.rules().prompt(), engine.rules().drawn);
    let (last, before) = prompt.split_last().context("a prompt")?;
    let running = engine.forward_by(prompt_rule, before, Logits::Last, Wants::NOTHING);
    pollster::block_on(running)?;
    let mut outputs: Vec<Output> = Vec::new();
    let mut id = *last;
    for _ in 0..n {
        let row = Row {
            sequence: 0,
            id: Some(id),
            rule,
            wants: BOTH,
        };
        outputs.extend(pollster::block_on(engine.run(&[row]))?);
        id = outputs[outputs.len() - 1].drawn.context("a token")?;
    }
    Ok(outputs)
}

const BOTH: Wants = Wants {
    logits: true,
    token: true,
};

/// The same with guesses, made from the text without: one to seven a pass, one of which is false in
/// every other pass.
fn guessed(
    fixture: &Fixture,
    prompt: &[u32],
    sampling: &SamplingOptions,
    text: &[u32],
    error: Error,
) -> Result<Vec<Output>> {
    let n_vocab = fixture.model.config.vocab as u32;
    let mut engine = fixture.engine(&for_rows(fixture.options()))?;
    let seen = match error {
        Error::WrongRandomNumber => &prompt[1..],
        _ => prompt,
    };
    engine.set_sampler(0, &Sampler::new(sampling.clone(), seen));
    let (prompt_rule, rule) = (engine.rules().prompt(), engine.rules().drawn);
    let (last, before) = prompt.split_last().context("a prompt")?;
    let running = engine.forward_by(prompt_rule, before, Logits::Last, Wants::NOTHING);
    pollster::block_on(running)?;
    let mut outputs: Vec<Output> = Vec::new();
    let mut id = *last;
    let mut n_passes = 0;
    while outputs.len() < text.len() {
        let next = &text[outputs.len()..];
        let n_guesses = (1 + n_passes % Drafts::MOST).min(next.len() - 1);
        let mut guesses = next[..n_guesses].to_vec();
        if n_passes % 2 == 1 && n_guesses > 0 {
            let at = n_passes / 2 % n_guesses;
            guesses[at] = (guesses[at] + 1) % n_vocab;
        }
        n_passes += 1;
        let row = |id| Row {
            sequence: 0,
            id: Some(id),
            rule,
            wants: BOTH,
        };
        let ids = std::iter::once(id).chain(guesses.iter().copied());
        let rows: Vec<Row> = ids.map(row).collect();
        let mut found = pollster::block_on(engine.run(&rows))?;
        found.truncate(n_valid(&guesses, &found));
        outputs.extend(found);
        id = outputs[outputs.len() - 1].drawn.context("a token")?;
        let n_positions = before.len() + outputs.len();
        match error {
            Error::StaleRows => {}
            Error::WrongPosition if n_passes == 2 => engine.truncate(n_positions - 1),
            _ => engine.truncate(engine.n_positions().min(n_positions)),
        }
    }
    outputs.truncate(text.len());
    Ok(outputs)
}

fn ids(outputs: &[Output]) -> Vec<u32> {
    outputs.iter().filter_map(|output| output.drawn).collect()
}

fn rows(name: &str, gpu: Option<Arc<Gpu>>) -> Result<()> {
    let fixture = Fixture::new(name, gpu)?;
    // Longer than the penalty's window, where that is no wait.
    let n = if fixture.device.is_some() { 80 } else { 36 };
    for (i, sampling) in samplers().iter().enumerate() {
        let prompt = &fixture.prompts()?[1];
        let expected = plain(&fixture, prompt, sampling, n)?;
        let text = ids(&expected);
        let found = guessed(&fixture, prompt, sampling, &text, Error::None)?;
        same(&format!("sampler {i}"), &ids(&found), &text)?;
        for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let what = format!("sampler {i}, token {at}");
            ensure!(found.cycles == expected.cycles, "{what}: cycles");
            same(&format!("{what}: scores"), &found.scores, &expected.scores)?;
            same(&format!("{what}: logits"), &found.logits, &expected.logits)?;
        }
    }
    Ok(())
}

/// Each error gives another text.
fn planted(gpu: Option<Arc<Gpu>>) -> Result<()> {
    let fixture = Fixture::new(MODELS[0], gpu)?;
    let prompt = &fixture.prompts()?[1];
    for (i, sampling) in samplers().iter().enumerate().skip(1) {
        let text = ids(&plain(&fixture, prompt, sampling, 32)?);
        for error in [
            Error::StaleRows,
            Error::WrongPosition,
            Error::WrongRandomNumber,
        ] {
            let found = guessed(&fixture, prompt, sampling, &text, error)?;
            ensure!(ids(&found) != text, "sampler {i}: {error:?} is not seen");
        }
    }
    Ok(())
}
