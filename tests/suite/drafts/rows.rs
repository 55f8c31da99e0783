//! Rows of guesses themselves: each draws what it would draw alone, and errors that are made on
//! purpose are seen.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use ztt_wgpu::engine::sampling::{Sampler, SamplingOptions};
use ztt_wgpu::engine::{DraftDepth, Drafts, Engine, Logits, Options, Row, Wants, n_valid};
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::model::{Fetch, Model};
use ztt_wgpu::reference::Output;

use super::{Fixture, MODELS, drafts, for_rows, samplers};
use crate::adapter;
use crate::compare::same;
use crate::fixtures::{path, trial};

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
    trials.push(trial("drafts::rows::other_walks::host", || {
        other_walks(None)
    }));
    trials.push(adapter::trial(
        "drafts::rows::other_walks::adapter",
        |gpu| other_walks(Some(gpu)),
    ));
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

const BOTH: Wants = Wants {
    logits: true,
    token: true,
};

/// A prompt, and how tokens are drawn and guessed after it.
struct Case<'a> {
    fixture: &'a Fixture,
    prompt: &'a [u32],
    sampling: &'a SamplingOptions,
    drafts: Drafts,
}

impl<'a> Case<'a> {
    /// The prompt but for its last token, which is returned; tokens are drawn after `seen`.
    fn begin(&self, drafts: Drafts, seen: &[u32]) -> Result<(Engine<'a>, u32)> {
        let options = for_rows(self.fixture.options(self.drafts));
        let mut engine = self.fixture.engine(&Options { drafts, ..options })?;
        engine.set_sampler(0, &Sampler::new(self.sampling.clone(), seen));
        let rule = engine.rules().prompt();
        let (last, before) = self.prompt.split_last().context("a prompt")?;
        let running = engine.forward_by(rule, before, Logits::Last, Wants::NOTHING);
        pollster::block_on(running)?;
        Ok((engine, *last))
    }

    /// The results of a text without guesses.
    fn plain(&self, n: usize) -> Result<Vec<Output>> {
        let (mut engine, mut id) = self.begin(Drafts::NONE, self.prompt)?;
        let mut outputs: Vec<Output> = Vec::new();
        for _ in 0..n {
            outputs.extend(run(&mut engine, &[Some(id)])?);
            id = outputs[outputs.len() - 1].drawn.context("a token")?;
        }
        Ok(outputs)
    }

    /// The same with guesses, one to seven a pass: drafts by depth, or made from the text without
    /// guesses, one of which is false in every other pass.
    fn guessed(&self, text: &[u32], error: Error) -> Result<Vec<Output>> {
        let n_vocab = self.fixture.model.config.vocab as u32;
        let seen = match error {
            Error::WrongRandomNumber => &self.prompt[1..],
            _ => self.prompt,
        };
        let (mut engine, mut id) = self.begin(self.drafts, seen)?;
        let n_before = engine.n_positions();
        let mut outputs: Vec<Output> = Vec::new();
        let mut n_passes = 0;
        while outputs.len() < text.len() {
            let next = &text[outputs.len()..];
            let n_guesses = (1 + n_passes % Drafts::MOST).min(next.len() - 1);
            let mut guesses: Vec<Option<u32>> = match self.drafts.depth {
                Some(_) => vec![None; n_guesses],
                None => next[..n_guesses].iter().copied().map(Some).collect(),
            };
            if n_passes % 2 == 1 && n_guesses > 0 {
                let guess = &mut guesses[n_passes / 2 % n_guesses];
                *guess = guess.map(|id| (id + 1) % n_vocab);
            }
            n_passes += 1;
            let rows = std::iter::once(Some(id)).chain(guesses.iter().copied());
            let mut found = run(&mut engine, &rows.collect::<Vec<_>>())?;
            found.truncate(n_valid(&guesses, &found));
            outputs.extend(found);
            id = outputs[outputs.len() - 1].drawn.context("a token")?;
            let n_positions = n_before + outputs.len();
            match error {
                Error::StaleRows => {}
                Error::WrongPosition if n_passes == 2 => engine.truncate(n_positions - 1),
                _ => engine.truncate(n_positions),
            }
        }
        outputs.truncate(text.len());
        Ok(outputs)
    }
}

impl Case<'_> {
    /// `n` tokens with guesses are those without, and so are their logits, cycles and scores.
    fn check(&self, what: &str, n: usize) -> Result<()> {
        let expected = self.plain(n)?;
        let text = ids(&expected);
        let found = self.guessed(&text, Error::None)?;
        same(what, &ids(&found), &text)?;
        for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let what = format!("{what}, token {at}");
            ensure!(found.cycles == expected.cycles, "{what}: cycles");
            same(&format!("{what}: scores"), &found.scores, &expected.scores)?;
            same(&format!("{what}: logits"), &found.logits, &expected.logits)?;
        }
        Ok(())
    }
}

/// Runs rows of the first sequence, all of which draw.
fn run(engine: &mut Engine, ids: &[Option<u32>]) -> Result<Vec<Output>> {
    let rule = engine.rules().drawn;
    let row = |&id: &Option<u32>| Row {
        sequence: 0,
        id,
        rule,
        wants: BOTH,
    };
    let rows: Vec<Row> = ids.iter().map(row).collect();
    Ok(pollster::block_on(engine.run(&rows))?)
}

fn ids(outputs: &[Output]) -> Vec<u32> {
    outputs.iter().filter_map(|output| output.drawn).collect()
}

fn rows(name: &str, gpu: Option<Arc<Gpu>>) -> Result<()> {
    let fixture = Fixture::new(name, gpu)?;
    // Longer than the penalty's window, where that is no wait.
    let n = if fixture.device.is_some() { 80 } else { 36 };
    let prompt = &fixture.prompts()?[1];
    for (i, sampling) in samplers().iter().enumerate() {
        for drafts in [drafts()[2], drafts()[3 + i % 2]] {
            let case = Case {
                fixture: &fixture,
                prompt,
                sampling,
                drafts,
            };
            case.check(&format!("sampler {i}, {drafts:?}"), n)?;
        }
    }
    Ok(())
}

/// Drafts by the first layers of a plain model, and by cycles of a walk with a head and a tail and
/// of one without either.
fn other_walks(gpu: Option<Arc<Gpu>>) -> Result<()> {
    let open = |folder: &str| Model::open(&path(folder).display().to_string(), Fetch::Never);
    let plain = open("golden/llama-plain")?;
    let looped = open("golden-looped/llama-loop-2-3x3")?.with_loop(2, 3, 3)?;
    let whole = open("golden-looped/nanbeige")?;
    let prompt: Vec<u32> = (3..14).collect();
    let cases = [
        (plain, vec![DraftDepth::Layers(1), DraftDepth::Layers(3)]),
        (looped, vec![DraftDepth::Cycles(1), DraftDepth::Cycles(2)]),
        (whole, vec![DraftDepth::Cycles(1)]),
    ];
    for (model, depths) in cases {
        let fixture = Fixture::of(model, gpu.clone())?;
        for (i, depth) in depths.into_iter().enumerate() {
            let drafts = Drafts {
                depth: Some(depth),
                ..Drafts::NONE
            };
            let case = Case {
                fixture: &fixture,
                prompt: &prompt,
                sampling: &samplers()[2 * i],
                drafts,
            };
            case.check(&format!("{}, {depth:?}", fixture.model.name), 32)?;
        }
    }
    Ok(())
}

/// Each error gives another text.
fn planted(gpu: Option<Arc<Gpu>>) -> Result<()> {
    let fixture = Fixture::new(MODELS[0], gpu)?;
    let prompt = &fixture.prompts()?[1];
    for (i, sampling) in samplers().iter().enumerate().skip(1) {
        for drafts in [drafts()[2], drafts()[3]] {
            let case = Case {
                fixture: &fixture,
                prompt,
                sampling,
                drafts,
            };
            let text = ids(&case.plain(32)?);
            for error in [
                Error::StaleRows,
                Error::WrongPosition,
                Error::WrongRandomNumber,
            ] {
                let found = case.guessed(&text, error)?;
                let what = format!("sampler {i}, {drafts:?}: {error:?}");
                ensure!(ids(&found) != text, "{what} is not seen");
            }
        }
    }
    Ok(())
}
