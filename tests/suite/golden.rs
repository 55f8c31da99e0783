//! Small random checkpoints against the outputs of an independent double-precision program.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use safetensors::SafeTensors;
use serde_json::Value;
use ztt_wgpu::engine::{DeviceModel, Engine, Logits, MAX_BATCH, Options, Row, Wants};
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::kernels::KvType;
use ztt_wgpu::model::config::{ExitRule, KV_POLICIES, REDUCES};
use ztt_wgpu::model::{Fetch, Model};
use ztt_wgpu::reference::Output;

use crate::adapter;
use crate::compare::{all_close, rows_close, same};
use crate::fixtures::{f32s, i32s, path, trial};
use crate::random::Random;
use crate::thorough;

const CASES: &[&str] = &[
    "llama-key-only",
    "llama-key-value",
    "llama-long",
    "llama-plain",
    "gpt2-key-only",
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

fn open(case: &str) -> Result<Model> {
    let folder = path("golden").join(case);
    Ok(Model::open(folder.to_str().context("path")?, Fetch::Never)?)
}

/// Runs every variant of a case: on `gpu`, or on the reference.
fn on_every_variant(
    case: &str,
    gpu: Option<Arc<Gpu>>,
    feed: Feed,
    tolerance: Tolerance,
) -> Result<()> {
    let folder = path("golden").join(case);
    let bytes = std::fs::read(folder.join("golden.safetensors"))?;
    let golden = SafeTensors::deserialize(&bytes)?;
    let (_, header) = SafeTensors::read_metadata(&bytes)?;
    let variants = header.metadata().as_ref().context("no variants")?;
    let ids: Vec<u32> = i32s(&golden, "ids")?.iter().map(|&id| id as u32).collect();
    let model = open(case)?;
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
        let outputs = outputs(&model, device_model.as_ref(), &options, feed, &ids)?;
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
        if model.pool.is_some() {
            let expected = f32s(&golden, &format!("{variant}.scores"))?;
            all_close(
                &format!("{what} scores"),
                &scores,
                &expected,
                tolerance.scores,
            )?;
        } else {
            ensure!(scores.is_empty(), "{what}: scores without a pool");
        }
        n_variants += 1;
    }
    ensure!(n_variants > 0, "{case} has no variants");
    Ok(())
}

/// One output for each of `ids`.
fn outputs(
    model: &Model,
    device_model: Option<&Arc<DeviceModel>>,
    options: &Options,
    feed: Feed,
    ids: &[u32],
) -> Result<Vec<Output>> {
    if feed == Feed::AmongOthers {
        let options = options.clone().with_sequences(3);
        let engine = match device_model {
            Some(device_model) => Engine::on_device(model, device_model, &options)?,
            None => Engine::on_host(model, &options)?,
        };
        return among_others(engine, ids);
    }
    let mut engine = match device_model {
        Some(device_model) => Engine::on_device(model, device_model, options)?,
        None => Engine::on_host(model, options)?,
    };
    if feed == Feed::Prompt {
        return Ok(pollster::block_on(engine.forward(ids, Logits::All))?);
    }
    let mut outputs = Vec::new();
    for &id in ids {
        outputs.extend(pollster::block_on(engine.forward(&[id], Logits::Last))?);
    }
    Ok(outputs)
}

/// Feeds `ids` to the second of three sequences, whose cache held other tokens before. Logits are
/// of the last token of each batch.
fn among_others(mut engine: Engine, ids: &[u32]) -> Result<Vec<Output>> {
    const CHECKED: usize = 1;
    let reversed: Vec<u32> = ids.iter().rev().copied().collect();
    let texts: [&[u32]; 3] = [&reversed, ids, &ids[..ids.len() / 2]];
    let rule = engine.rules().prompt();
    let row = |sequence: usize, id: u32| Row {
        sequence,
        id: Some(id),
        rule,
        wants: Wants::NOTHING,
    };
    let before: Vec<Row> = reversed.iter().map(|&id| row(CHECKED, id)).collect();
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
            batch.extend(tokens.iter().map(|&id| row(sequence, id)));
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
        ..ExitRule::default()
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
    })
}
