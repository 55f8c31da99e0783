//! Generation with tokens drawn on the device, ahead of the host, against tokens drawn on the
//! host: the same tokens, counts and KV cache, however it ends.

use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use ztt_wgpu::Error;
use ztt_wgpu::engine::sampling::{Sampler, SamplingOptions};
use ztt_wgpu::engine::{DeviceModel, Drafts, Engine, Logits, Options, Row, Wants};
use ztt_wgpu::generate::{Finish, StopRules, generate};
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::kernels::KvType;
use ztt_wgpu::model::config::{ExitRule, KvPolicy};
use ztt_wgpu::model::{BUILTIN, Fetch, Model};

use crate::adapter;
use crate::compare::same;
use crate::generated::{Asked, Generated};
use crate::program::{Checkpoint, json_lines, run, succeed};

pub fn trials() -> Vec<Trial> {
    vec![
        adapter::trial("ahead::same_tokens_as_on_the_host", same_tokens),
        adapter::trial("ahead::positions_that_are_cut_off_are_drawn_again", cut_off),
        adapter::trial("ahead::every_end_is_the_host's", ends),
        adapter::trial(
            "ahead::the_host_draws_from_many_candidates",
            many_candidates,
        ),
        adapter::trial("ahead::logits_that_are_not_finite", not_finite),
        adapter::trial("ahead::run_draws_alike_on_host_and_device", |_| commands()),
    ]
}

const PROMPT: &str = "ROMEO:\nBut soft, what light";

/// The embedded model on the adapter.
struct Fixture {
    model: Model,
    device_model: Arc<DeviceModel>,
    prompt: Vec<u32>,
}

/// A generation to be run.
#[derive(Clone)]
struct Case {
    sampling: SamplingOptions,
    kv: KvPolicy,
    n_ctx: usize,
    max_tokens: usize,
    eos: Vec<u32>,
    stop: Vec<String>,
    /// Tokens after which the receiver wants no more.
    wanted: usize,
    /// Batches under way at a time.
    ahead: usize,
}

impl Fixture {
    fn new(gpu: Arc<Gpu>) -> Result<Self> {
        let model = Model::open(BUILTIN, Fetch::Never)?;
        Ok(Self {
            device_model: Arc::new(pollster::block_on(DeviceModel::upload(
                gpu,
                &model,
                &mut |_| {},
            ))?),
            prompt: model.tokenizer()?.encode(PROMPT)?,
            model,
        })
    }

    fn case(&self) -> Case {
        Case {
            sampling: greedy(),
            kv: KvPolicy::Propagate,
            n_ctx: 128,
            max_tokens: 24,
            eos: Vec::new(),
            stop: Vec::new(),
            wanted: usize::MAX,
            ahead: 3,
        }
    }

    fn generate(&self, case: &Case, on_host: bool) -> Result<Generated> {
        let options = Options {
            cap: None,
            exit: ExitRule {
                kv: case.kv,
                ..self.model.config.exit()
            },
            n_sequences: 1,
            n_ctx: case.n_ctx,
            kv_type: KvType::F16,
            logits: Logits::Last,
            drafts: Drafts::NONE,
        };
        let mut engine = Engine::on_device(&self.model, &self.device_model, &options)?;
        engine.set_ahead(case.ahead);
        let sampling = SamplingOptions {
            on_host,
            ..case.sampling.clone()
        };
        let rules = StopRules {
            interrupt: Default::default(),
            max_tokens: case.max_tokens,
            eos: case.eos.clone(),
            strings: case.stop.clone(),
        };
        let tokenizer = self.model.tokenizer()?;
        let asked = Asked {
            tokenizer: Some(&tokenizer),
            prompt: &self.prompt,
            sampling,
            rules,
            wanted: case.wanted,
        };
        Generated::by(&mut engine, asked)
    }

    /// Generates on both sides, which must agree, and returns the device's.
    fn check(&self, what: &str, case: &Case) -> Result<Generated> {
        let (host, device) = (self.generate(case, true)?, self.generate(case, false)?);
        device.equals(what, &host)?;
        let (work, host_work) = (&device.summary.work, &host.summary.work);
        let n_passes = device.summary.n_passes as u64;
        ensure!(
            (work.submissions, work.read_backs) == (n_passes, n_passes),
            "{what}: {work:?} for {n_passes} passes"
        );
        // Those that place the row and draw, and the penalty where there is one.
        let n_drawing = 4 + u64::from(case.sampling.repeat_penalty != 1.0);
        ensure!(
            work.dispatches == host_work.dispatches + n_drawing * n_passes,
            "{what}: {} dispatches, {} on the host, {n_passes} passes",
            work.dispatches,
            host_work.dispatches
        );
        Ok(device)
    }
}

/// Tokens drawn again after a cut are those drawn before it, on both sides.
fn cut_off(gpu: Arc<Gpu>) -> Result<()> {
    let fixture = Fixture::new(gpu)?;
    let options = Options::of(&fixture.model);
    let host = Engine::on_host(&fixture.model, &options)?;
    let device = Engine::on_device(&fixture.model, &fixture.device_model, &options)?;
    let mut texts = Vec::new();
    for mut engine in [host, device] {
        let sampler = Sampler::new(penalized(), &fixture.prompt);
        engine.set_sampler(0, &sampler);
        let rule = engine.rules().drawn;
        let running = engine.forward_by(rule, &fixture.prompt, Logits::Last, Wants::TOKEN);
        let first = pollster::block_on(running)?;
        let mut drawn = vec![first.last().and_then(|o| o.drawn).context("a token")?];
        let next = |engine: &mut Engine, id: Option<u32>| -> Result<u32> {
            let row = Row {
                sequence: 0,
                id,
                rule,
                wants: Wants::TOKEN,
            };
            let outputs = pollster::block_on(engine.run(&[row]))?;
            outputs[0].drawn.context("a token")
        };
        for _ in 0..8 {
            drawn.push(next(&mut engine, None)?);
        }
        // Of the tokens drawn, three have run.
        engine.truncate(fixture.prompt.len() + 3);
        let mut again = vec![next(&mut engine, Some(drawn[3]))?];
        for _ in 0..4 {
            again.push(next(&mut engine, None)?);
        }
        same("drawn again", &again, &drawn[4..])?;
        texts.push(drawn);
    }
    same("on the device", &texts[1], &texts[0])
}

fn greedy() -> SamplingOptions {
    SamplingOptions {
        temperature: 0.0,
        ..SamplingOptions::default()
    }
}

fn penalized() -> SamplingOptions {
    SamplingOptions {
        repeat_penalty: 1.2,
        seed: 11,
        ..SamplingOptions::default()
    }
}

fn same_tokens(gpu: Arc<Gpu>) -> Result<()> {
    let fixture = Fixture::new(gpu)?;
    let mut texts = Vec::new();
    for kv in [KvPolicy::Propagate, KvPolicy::Share] {
        for sampling in [greedy(), SamplingOptions::default(), penalized()] {
            let case = Case {
                sampling,
                kv,
                // Longer than the penalty's window.
                max_tokens: 80,
                ..fixture.case()
            };
            let generated = fixture.check(&format!("{kv:?}"), &case)?;
            let exits = generated.summary.exits.by_cycles();
            ensure!(exits.len() == 3 && exits[1] > 0, "no exits: {exits:?}");
            let ids: Vec<u32> = generated.tokens.iter().map(|t| t.id).collect();
            ensure!(ids.len() == 80, "{} tokens", ids.len());
            texts.push(ids);
        }
    }
    // The control: sets of options differ in their text.
    let n = texts.len();
    texts[..n / 2].sort();
    texts[..n / 2].windows(2).try_for_each(|pair| {
        ensure!(pair[0] != pair[1], "two sets of options, one text");
        Ok(())
    })
}

fn ends(gpu: Arc<Gpu>) -> Result<()> {
    let fixture = Fixture::new(gpu)?;
    for (sampling, ahead) in [(greedy(), 3), (penalized(), 3), (greedy(), 1)] {
        let case = Case {
            sampling,
            ahead,
            ..fixture.case()
        };
        let whole = fixture.check("to the maximum", &case)?;
        ensure!(whole.summary.finish == Finish::Length && whole.tokens.len() == 24);
        let ended = |what: &str, case: &Case, finish: Finish| {
            let generated = fixture.check(what, case)?;
            let found = generated.summary.finish;
            ensure!(found == finish, "{what}: ends by {found:?}");
            anyhow::Ok(generated)
        };
        for max_tokens in [0, 1, 2, 3] {
            let case = Case {
                max_tokens,
                ..case.clone()
            };
            let generated = ended("a small maximum", &case, Finish::Length)?;
            ensure!(generated.tokens.len() == max_tokens);
        }
        // The first time that a token comes, somewhere in the middle.
        let first = (5..20)
            .find(|&i| whole.tokens[..i].iter().all(|t| t.id != whole.tokens[i].id))
            .context("nothing new")?;
        let eos = Case {
            eos: vec![whole.tokens[first].id],
            ..case.clone()
        };
        let generated = ended("a token that ends", &eos, Finish::Eos)?;
        ensure!(generated.tokens.len() == first, "cut elsewhere");
        let text: String = whole.tokens[9..12].iter().map(|t| t.text.clone()).collect();
        let stop = Case {
            stop: vec![text],
            ..case.clone()
        };
        let generated = ended("a stop text", &stop, Finish::StopString)?;
        ensure!(generated.tokens.len() <= 12);
        let full = Case {
            n_ctx: fixture.prompt.len() + 6,
            ..case.clone()
        };
        let generated = ended("a full context", &full, Finish::Context)?;
        ensure!(generated.tokens.len() == 7 && generated.n_positions == full.n_ctx);
        let full_at_once = Case {
            n_ctx: fixture.prompt.len(),
            ..case.clone()
        };
        ended("full from the start", &full_at_once, Finish::Context)?;
        let interrupted = Case {
            wanted: 4,
            ..case.clone()
        };
        let generated = ended("an interruption", &interrupted, Finish::Interrupted)?;
        ensure!(generated.tokens.len() == 4);
    }
    Ok(())
}

/// With more candidates than a device looks at, the host draws.
fn many_candidates(gpu: Arc<Gpu>) -> Result<()> {
    let fixture = Fixture::new(gpu)?;
    let dispatches = |top_k: usize, on_host: bool| {
        let case = Case {
            sampling: SamplingOptions {
                top_k,
                ..SamplingOptions::default()
            },
            max_tokens: 4,
            ..fixture.case()
        };
        let generated = fixture.generate(&case, on_host)?;
        anyhow::Ok(generated.summary.work.dispatches)
    };
    for top_k in [0, 257] {
        ensure!(dispatches(top_k, false)? == dispatches(top_k, true)?);
    }
    ensure!(dispatches(256, false)? > dispatches(256, true)?);
    Ok(())
}

/// The position whose logits are not finite is named, wherever tokens are drawn.
fn not_finite(gpu: Arc<Gpu>) -> Result<()> {
    // Finite weights whose products are not.
    let checkpoint = Checkpoint::copy_of("llama-plain")?.fill("model.norm.weight", 1e38)?;
    let model = Model::open(&checkpoint.name(), Fetch::Never)?;
    let device_model = Arc::new(pollster::block_on(DeviceModel::upload(
        gpu,
        &model,
        &mut |_| {},
    ))?);
    let options = Options {
        cap: None,
        exit: ExitRule::default(),
        n_sequences: 1,
        n_ctx: 16,
        kv_type: KvType::F32,
        logits: Logits::Last,
        drafts: Drafts::NONE,
    };
    let rules = StopRules {
        interrupt: Default::default(),
        max_tokens: 4,
        eos: Vec::new(),
        strings: Vec::new(),
    };
    for on_host in [true, false] {
        let mut engine = Engine::on_device(&model, &device_model, &options)?;
        let sampling = SamplingOptions {
            on_host,
            ..SamplingOptions::default()
        };
        let ended = pollster::block_on(generate(
            &mut engine,
            None,
            &[1, 2, 3],
            &mut Sampler::new(sampling, &[]),
            &rules,
            |_| ControlFlow::Continue(()),
        ));
        let error = ended.err().context("no error")?;
        ensure!(
            matches!(error, Error::NotANumber { position: 2 }),
            "{error}"
        );
    }
    Ok(())
}

fn commands() -> Result<()> {
    let arguments = ["run", "builtin", "Call me", "-n", "40", "--seed", "4"];
    let host = succeed(&[&arguments[..], &["--host-sampling"]].concat())?;
    ensure!(host.len() > 40, "{host:?}");
    same("text", &[succeed(&arguments)?], &[host])?;
    let lines = json_lines(&succeed(&[&arguments[..], &["--json"]].concat())?)?;
    let summary = &lines.last().context("no summary")?["summary"];
    ensure!(summary["submissions_per_token"] == 1.0, "{summary}");
    ensure!(summary["read_backs_per_token"] == 1.0, "{summary}");
    let profiled = run(&[&arguments[..], &["--profile"]].concat())?;
    ensure!(profiled.stderr.contains("lm_head"), "{}", profiled.stderr);
    Ok(())
}
