//! Small random checkpoints against the outputs of an independent double-precision program.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use safetensors::SafeTensors;
use serde_json::Value;
use ztt_wgpu::engine::{DeviceModel, Drafts, Engine, Logits, MAX_BATCH, Options, Row, Wants};
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::kernels::KvType;
use ztt_wgpu::model::config::{ExitRule, KV_POLICIES, REDUCES};
use ztt_wgpu::model::{Fetch, Model};
use ztt_wgpu::reference::Output;
use ztt_wgpu::schedule::{Rule, TextRules};

use crate::adapter;
use crate::compare::{all_close, rows_close, same};
use crate::fixtures::{f32s, i32s, path, trial};
use crate::random::Random;
use crate::thorough;

pub const CASES: &[&str] = &[
    "llama-key-only",
    "llama-key-value",
    "llama-long",
    "llama-plain",
    "gpt2-key-only",
    "ouro",
    "ouro-gqa-bf16",
    "nanbeige",
    "nanbeige-channels",
    "llama-loop-2-3x3",
];

/// Positions from which on not every variant is fed in every way.
const LONG: usize = 100;

/// Relative error of a row of logits, and absolute error of a score.
#[derive(Clone, Copy)]
struct Tolerance {
    logits: f64,
    scores: f64,
}

const EXACT: Tolerance = Tolerance {
    logits: 5e-5,
    scores: 1e-5,
};

/// Hardware computes `exp` more coarsely.
const HARDWARE: Tolerance = Tolerance {
    logits: 2e-4,
    scores: 1e-4,
};

/// Variants whose settings have too small a figure of how far float32 is off, and a better one:
/// the worst of `tests/fixtures/golden-looped/float32_orders.py`, over 3, as bounds are 3 times it.
const FLOAT32: [(&str, &str, f64); 2] = [("ouro", "cap", 1e-4), ("ouro", "full", 1.06e-4)];

impl Tolerance {
    /// The tolerance of a variant whose settings say by how much float32 is off at worst: of a
    /// random stack that magnifies rounding. It magnifies none of the reference's.
    fn of_variant(self, case: &str, variant: &str, settings: &Value, on_device: bool) -> Self {
        let better = FLOAT32.iter().find(|(c, v, _)| (*c, *v) == (case, variant));
        let said = settings.get("f32").and_then(Value::as_f64);
        match better.map(|(_, _, f32)| *f32).or(said) {
            None => self,
            Some(_) if !on_device => Self {
                logits: 2e-6,
                scores: 1e-6,
            },
            Some(f32) => Self {
                logits: self.logits * (3.0 * f32 / EXACT.logits).max(1.0),
                scores: 1e-4,
            },
        }
    }
}

/// How the positions are fed.
#[derive(Clone, Copy, PartialEq)]
enum Feed {
    Prompt,
    OneByOne,
    /// Some at a time, in batches with tokens of other sequences.
    AmongOthers,
}

const FEEDS: [(&str, Feed); 3] = [
    ("prompt", Feed::Prompt),
    ("one_by_one", Feed::OneByOne),
    ("among_others", Feed::AmongOthers),
];

/// Tests on the reference, which needs no adapter.
pub fn reference_trials() -> Vec<Trial> {
    let of_case = |case: &&'static str| {
        let case = *case;
        trial(format!("golden::reference::{case}"), move || {
            on_every_variant(case, None, Feed::OneByOne, EXACT)?;
            on_every_variant(case, None, Feed::AmongOthers, EXACT)
        })
    };
    CASES.iter().map(of_case).collect()
}

/// Tests on an adapter.
pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for case in CASES {
        for (name, feed) in FEEDS {
            trials.extend(adapter::trials_by_class(
                &format!("golden::{name}::{case}"),
                move |gpu| {
                    let tolerance = match gpu.info.device_type {
                        wgpu::DeviceType::Cpu => EXACT,
                        _ => HARDWARE,
                    };
                    on_every_variant(case, Some(gpu), feed, tolerance)
                },
            ));
        }
    }
    trials
}

/// The folder of a case: of a ZTT or a plain checkpoint, or else of another looped model.
fn folder(case: &str) -> PathBuf {
    match is_looped(case) {
        true => path("golden-looped").join(case),
        false => path("golden").join(case),
    }
}

/// Whether a case is of a looped model that is no ZTT.
pub fn is_looped(case: &str) -> bool {
    path("golden-looped").join(case).is_dir()
}

/// The model of a case, each layer as often as the file says.
pub fn open(case: &str) -> Result<Model> {
    let folder = folder(case);
    Ok(Model::open(folder.to_str().context("path")?, Fetch::Never)?)
}

/// The model with the layers in cycles that the variants of its case name, all the same.
fn looped<'a>(model: Model, variants: impl Iterator<Item = &'a String>) -> Result<Model> {
    let mut loops = Vec::new();
    for settings in variants {
        let settings: Value = serde_json::from_str(settings)?;
        loops.push(serde_json::from_value::<Option<[usize; 3]>>(
            settings["loop"].clone(),
        )?);
    }
    loops.dedup();
    match loops[..] {
        [None] => Ok(model),
        [Some([first, last, n])] => Ok(model.with_loop(first, last, n)?),
        _ => bail!("several loops"),
    }
}

/// Runs every variant of a case: on `gpu`, or on the reference.
fn on_every_variant(
    case: &str,
    gpu: Option<Arc<Gpu>>,
    feed: Feed,
    tolerance: Tolerance,
) -> Result<()> {
    let folder = folder(case);
    let bytes = std::fs::read(folder.join("golden.safetensors"))?;
    let golden = SafeTensors::deserialize(&bytes)?;
    let (_, header) = SafeTensors::read_metadata(&bytes)?;
    let variants = header.metadata().as_ref().context("no variants")?;
    let ids: Vec<u32> = i32s(&golden, "ids")?.iter().map(|&id| id as u32).collect();
    let model = looped(open(case)?, variants.values())?;
    let upload =
        |gpu| pollster::block_on(DeviceModel::upload(gpu, &model, &mut |_| {})).map(Arc::new);
    let device_model = gpu.map(upload).transpose()?;
    let mut variants: Vec<_> = variants.iter().collect();
    variants.sort_unstable();
    // Hundreds of positions one by one take a software adapter twenty seconds.
    if feed != Feed::Prompt && ids.len() > LONG {
        variants = thorough::sample(variants);
    }
    let mut n_variants = 0;
    for (variant, settings) in variants {
        let settings: Value = serde_json::from_str(settings)?;
        let options = options(&settings, &model)?;
        let tolerance = tolerance.of_variant(case, variant, &settings, device_model.is_some());
        let n_prompt = settings.get("n_prompt").and_then(Value::as_u64);
        let n_prompt = n_prompt.map_or(ids.len(), |n| n as usize);
        let texts = Texts {
            ids: &ids,
            n_prompt,
        };
        let outputs = outputs(&model, device_model.as_ref(), &options, feed, texts)?;
        let logits: Vec<f32> = outputs.iter().flat_map(|o| o.logits.clone()).collect();
        let scores: Vec<f32> = outputs.iter().flat_map(|o| o.scores.clone()).collect();
        let cycles: Vec<i32> = outputs.iter().map(|o| o.cycles as i32).collect();
        let expected = f32s(&golden, &format!("{variant}.logits"))?;
        let expected: Vec<f32> = (outputs.iter().zip(expected.chunks(model.config.vocab)))
            .filter(|(output, _)| !output.logits.is_empty())
            .flat_map(|(_, logits)| logits.to_vec())
            .collect();
        let what = format!("{case} {variant}");
        same(
            &format!("{what} cycles"),
            &cycles,
            &i32s(&golden, &format!("{variant}.cycles"))?,
        )?;
        rows_close(
            &format!("{what} logits"),
            &logits,
            &expected,
            model.config.vocab,
            tolerance.logits,
        )?;
        if model.config.score.is_some() {
            let expected = f32s(&golden, &format!("{variant}.scores"))?;
            all_close(
                &format!("{what} scores"),
                &scores,
                &expected,
                tolerance.scores,
            )?;
        } else {
            ensure!(scores.is_empty(), "{what}: scores of nothing");
        }
        n_variants += 1;
    }
    ensure!(n_variants > 0, "{case} has no variants");
    Ok(())
}

/// The tokens of a case.
#[derive(Clone, Copy)]
struct Texts<'a> {
    ids: &'a [u32],
    /// The first ones are a prompt, the others count as drawn.
    n_prompt: usize,
}

impl Texts<'_> {
    fn rule(&self, rules: TextRules, position: usize) -> Rule {
        match position < self.n_prompt {
            true => rules.prompt(),
            false => rules.drawn,
        }
    }
}

/// One output for each token.
fn outputs(
    model: &Model,
    device_model: Option<&Arc<DeviceModel>>,
    options: &Options,
    feed: Feed,
    texts: Texts,
) -> Result<Vec<Output>> {
    if feed == Feed::AmongOthers {
        let options = options.clone().with_sequences(3);
        let engine = match device_model {
            Some(device_model) => Engine::on_device(model, device_model, &options)?,
            None => Engine::on_host(model, &options)?,
        };
        return among_others(engine, texts);
    }
    let mut engine = match device_model {
        Some(device_model) => Engine::on_device(model, device_model, options)?,
        None => Engine::on_host(model, options)?,
    };
    let rules = engine.rules();
    let mut outputs = Vec::new();
    if feed == Feed::Prompt {
        let (prompt, drawn) = texts.ids.split_at(texts.n_prompt);
        for (ids, rule) in [(prompt, rules.prompt()), (drawn, rules.drawn)] {
            let running = engine.forward_by(rule, ids, Logits::All, Wants::LOGITS);
            outputs.extend(pollster::block_on(running)?);
        }
        return Ok(outputs);
    }
    for (position, &id) in texts.ids.iter().enumerate() {
        let rule = texts.rule(rules, position);
        let ids = [id];
        let running = engine.forward_by(rule, &ids, Logits::Last, Wants::LOGITS);
        outputs.extend(pollster::block_on(running)?);
    }
    Ok(outputs)
}

/// Feeds the tokens of a case to the second of three sequences, whose cache held other tokens
/// before. Logits are of the last token of each batch.
fn among_others(mut engine: Engine, checked: Texts) -> Result<Vec<Output>> {
    const CHECKED: usize = 1;
    let ids = checked.ids;
    let reversed: Vec<u32> = ids.iter().rev().copied().collect();
    let texts: [&[u32]; 3] = [&reversed, ids, &ids[..ids.len() / 2]];
    let rules = engine.rules();
    let row = |sequence: usize, position: usize, id: u32| Row {
        sequence,
        id: Some(id),
        rule: checked.rule(rules, position),
        wants: Wants::NOTHING,
    };
    let before = reversed.iter().enumerate();
    let before: Vec<Row> = before.map(|(i, &id)| row(CHECKED, i, id)).collect();
    pollster::block_on(engine.run(&before[..before.len().min(MAX_BATCH)]))?;
    engine.truncate_sequence(CHECKED, 0);
    let random = &mut Random::new(ids.len() as u64);
    let mut outputs = Vec::new();
    while outputs.len() < ids.len() {
        let mut batch = Vec::new();
        for (sequence, text) in texts.into_iter().enumerate() {
            let first = engine.positions_of(sequence);
            // Now and then a sequence takes no part, or none does.
            let n = random.below(5).min(text.len() - first);
            let tokens = &text[first..first + n];
            let tokens = (first..).zip(tokens);
            batch.extend(tokens.map(|(i, &id)| row(sequence, i, id)));
            if n > 0 {
                let last = batch.len() - 1;
                batch[last].wants = Wants::LOGITS;
            }
        }
        let of_batch = pollster::block_on(engine.run(&batch))?;
        let pairs = batch.iter().zip(of_batch);
        let checked = pairs.filter(|(row, _)| row.sequence == CHECKED);
        outputs.extend(checked.map(|(_, output)| output));
    }
    Ok(outputs)
}

fn options(settings: &Value, model: &Model) -> Result<Options> {
    let named = |key: &str| settings.get(key).and_then(Value::as_str);
    let mut exit = ExitRule {
        threshold: settings.get("threshold").and_then(Value::as_f64),
        // What a variant does not say is as in the model, but all may leave. One that says that the
        // prompt does not leaves that to the model, too.
        prompt: settings.get("exit_prompt").is_none().then_some(true),
        ..match model.pool {
            Some(_) => ExitRule::default(),
            None => model.config.exit(),
        }
    };
    if let Some(n) = settings.get("min_cycles").and_then(Value::as_u64) {
        exit.min_cycles = n as usize;
    }
    if let Some(name) = named("reduce") {
        exit.reduce = REDUCES.iter().find(|r| r.0 == name).context("reduce")?.1;
    }
    if let Some(name) = named("kv") {
        exit.kv = KV_POLICIES.iter().find(|r| r.0 == name).context("kv")?.1;
    }
    Ok(Options {
        cap: settings
            .get("cycles")
            .and_then(Value::as_u64)
            .map(|n| n as usize),
        exit,
        n_sequences: 1,
        n_ctx: model.config.max_positions,
        kv_type: KvType::F32,
        logits: Logits::All,
        drafts: Drafts::NONE,
    })
}
