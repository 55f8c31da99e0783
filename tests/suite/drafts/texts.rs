//! Texts with guesses against texts without: tokens, counts and the cache after them.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use ztt_wgpu::engine::sampling::SamplingOptions;
use ztt_wgpu::engine::{DraftCounts, Drafts, Options};
use ztt_wgpu::generate::{Finish, StopRules};
use ztt_wgpu::gpu::Gpu;

use super::{Fixture, MODELS, drafts, greedy, samplers};
use crate::adapter;
use crate::fixtures::trial;
use crate::generated::{Asked, Generated};
use crate::models::SMOLLM2;
use crate::thorough;

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for name in MODELS {
        trials.push(trial(
            format!("drafts::same_text::{name}::host"),
            move || same_text(name, None),
        ));
        trials.push(adapter::trial(
            format!("drafts::same_text::{name}::adapter"),
            move |gpu| same_text(name, Some(gpu)),
        ));
    }
    trials.push(smollm2());
    trials.push(trial("drafts::same_ends::host", || ends(None)));
    trials.push(adapter::trial("drafts::same_ends::adapter", |gpu| {
        ends(Some(gpu))
    }));
    trials.push(adapter::trial(
        "drafts::sampled_guesses_are_as_good_as_greedy_ones",
        acceptance,
    ));
    trials.push(adapter::trial(
        "drafts::what_the_host_draws_is_not_guessed",
        on_host,
    ));
    trials
}

/// A text to be generated.
#[derive(Clone)]
struct Case {
    prompt: Vec<u32>,
    sampling: SamplingOptions,
    options: Options,
    max_tokens: usize,
    eos: Vec<u32>,
    /// Tokens after which the receiver wants no more.
    wanted: usize,
}

fn generated(fixture: &Fixture, case: &Case, drafts: Drafts) -> Result<Generated> {
    let options = Options {
        drafts,
        ..case.options.clone()
    };
    let mut engine = fixture.engine(&options)?;
    let rules = StopRules {
        interrupt: Default::default(),
        max_tokens: case.max_tokens,
        eos: case.eos.clone(),
        strings: Vec::new(),
    };
    let asked = Asked {
        tokenizer: None,
        prompt: &case.prompt,
        sampling: case.sampling.clone(),
        rules,
        wanted: case.wanted,
    };
    Generated::by(&mut engine, asked)
}

/// Generates with guesses and without, which must agree. Returns how the guesses turned out.
fn check(what: &str, fixture: &Fixture, case: &Case) -> Result<DraftCounts> {
    let drafts = case.options.drafts;
    let plain = generated(fixture, case, Drafts::NONE)?;
    let drafted = generated(fixture, case, drafts)?;
    let what = format!("{what}, {drafts:?}");
    drafted.equals(&what, &plain)?;
    ensure!(
        plain.summary.drafts.is_none(),
        "{what}: counts without guesses"
    );
    let counts = drafted.summary.drafts.context("no counts")?;
    ensure!(
        counts.n_tokens >= drafted.summary.n_passes,
        "{what}: {counts:?} for {} positions",
        drafted.summary.n_passes
    );
    if fixture.device.is_some() {
        let work = drafted.summary.work;
        ensure!(
            work.submissions as usize <= counts.n_passes,
            "{what}: {work:?} for {counts:?}"
        );
    }
    Ok(counts)
}

impl Fixture {
    /// A text for these guesses, and for none.
    fn case(&self, prompt: &[u32], sampling: &SamplingOptions, drafts: Drafts) -> Case {
        Case {
            prompt: prompt.to_vec(),
            sampling: sampling.clone(),
            options: self.options(drafts),
            max_tokens: self.n_tokens(),
            eos: Vec::new(),
            wanted: usize::MAX,
        }
    }
}

fn same_text(name: &str, gpu: Option<Arc<Gpu>>) -> Result<()> {
    let fixture = Fixture::new(name, gpu)?;
    let mut all = DraftCounts::default();
    for (i, prompt) in fixture.prompts()?.iter().enumerate() {
        for (j, sampling) in samplers().iter().enumerate() {
            // Every way to guess, by turns.
            let drafts = drafts()[(5 * i + j) % 6];
            let case = fixture.case(prompt, sampling, drafts);
            let what = format!("prompt {i}, sampler {j}");
            all.add(&check(&what, &fixture, &case)?);
        }
    }
    let (drafted, accepted) = all.totals();
    ensure!(
        accepted > 0 && drafted > accepted,
        "true guesses and false ones: {all:?}"
    );
    Ok(())
}

/// A model that was trained for more than these tests, with guesses from its texts.
fn smollm2() -> Trial {
    let name = "drafts::same_text::smollm2";
    let Some(model) = std::env::var(SMOLLM2).ok() else {
        let reason = format!("{SMOLLM2} is not set");
        let skipped = trial(name, || Ok(()));
        return skipped.with_kind(reason).with_ignored_flag(true);
    };
    adapter::trial(name, move |gpu| {
        let fixture = Fixture::new(&model, Some(gpu))?;
        let mut all = DraftCounts::default();
        for (i, prompt) in fixture.prompts()?.iter().take(3).enumerate() {
            for (j, sampling) in samplers().iter().take(3).enumerate() {
                let case = Case {
                    max_tokens: 64,
                    ..fixture.case(prompt, sampling, drafts()[j])
                };
                let what = format!("prompt {i}, sampler {j}");
                all.add(&check(&what, &fixture, &case)?);
            }
        }
        let (_, accepted) = all.totals();
        ensure!(accepted > 0, "no guess was true: {all:?}");
        Ok(())
    })
}

/// However a text ends, it is the text without guesses.
fn ends(gpu: Option<Arc<Gpu>>) -> Result<()> {
    let fixture = Fixture::new(MODELS[0], gpu)?;
    let prompt = &fixture.prompts()?[0];
    for (sampling, drafts) in [
        (&greedy(), drafts()[2]),
        (&greedy(), drafts()[4]),
        (&samplers()[2], drafts()[2]),
        (&samplers()[2], drafts()[4]),
    ] {
        let case = Case {
            max_tokens: 24,
            ..fixture.case(prompt, sampling, drafts)
        };
        let whole = generated(&fixture, &case, Drafts::NONE)?;
        ensure!(whole.summary.finish == Finish::Length && whole.tokens.len() == 24);
        for max_tokens in [0, 1, 2, 5] {
            let case = Case {
                max_tokens,
                ..case.clone()
            };
            check(&format!("{max_tokens} tokens"), &fixture, &case)?;
        }
        for at in [0, 11] {
            let eos = Case {
                eos: vec![whole.tokens[at].id],
                ..case.clone()
            };
            check("a token that ends", &fixture, &eos)?;
        }
        for n in [0, 1, 3, 8] {
            let mut full = case.clone();
            full.options.n_ctx = prompt.len() + n;
            check(&format!("room for {n}"), &fixture, &full)?;
        }
        for wanted in [1, 4] {
            let interrupted = Case {
                wanted,
                ..case.clone()
            };
            check("an interruption", &fixture, &interrupted)?;
        }
    }
    Ok(())
}

/// Drawing is a race, so that a draft draws what full depth draws as often as it is the likeliest
/// for both.
fn acceptance(gpu: Arc<Gpu>) -> Result<()> {
    let fixture = Fixture::new(MODELS[0], Some(gpu))?;
    let drafts = Drafts {
        tokens: Some(1),
        ..drafts()[3]
    };
    let share = |sampling: &SamplingOptions| -> Result<f64> {
        let mut all = DraftCounts::default();
        for prompt in fixture.prompts()? {
            let case = fixture.case(&prompt, sampling, drafts);
            let found = generated(&fixture, &case, drafts)?;
            all.add(&found.summary.drafts.context("no counts")?);
        }
        let (drafted, accepted) = all.totals();
        Ok(accepted as f64 / drafted as f64)
    };
    let (greedy, sampled) = (share(&greedy())?, share(&samplers()[1])?);
    // Some hundred guesses scatter by more.
    let allowed = if thorough::is_on() { 0.05 } else { 0.2 };
    ensure!(
        greedy > 0.4 && sampled > greedy - allowed,
        "of guesses {greedy:.2} are kept greedy, {sampled:.2} sampled"
    );
    Ok(())
}

/// Tokens that are drawn on the host, from more candidates than a device looks at.
fn on_host(gpu: Arc<Gpu>) -> Result<()> {
    let fixture = Fixture::new(MODELS[0], Some(gpu))?;
    let sampling = SamplingOptions {
        top_k: 0,
        ..samplers()[1].clone()
    };
    let case = Case {
        max_tokens: 8,
        ..fixture.case(&fixture.prompts()?[0], &sampling, drafts()[1])
    };
    let found = generated(&fixture, &case, drafts()[1])?;
    ensure!(found.summary.drafts.is_none() && found.tokens.len() == 8);
    Ok(())
}
