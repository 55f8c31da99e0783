//! Small random checkpoints against the outputs of an independent double-precision program.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use safetensors::SafeTensors;
use serde_json::Value;
use ztt_wgpu::engine::{DeviceModel, Engine, Logits, Options};
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::kernels::KvType;
use ztt_wgpu::model::config::{ExitRule, KV_POLICIES, REDUCES};
use ztt_wgpu::model::{Fetch, Model};

use crate::adapter;
use crate::compare::{all_close, rows_close, same};
use crate::fixtures::{f32s, i32s, path, trial};

const CASES: &[&str] = &[
    "llama-key-only",
    "llama-key-value",
    "llama-long",
    "llama-plain",
    "gpt2-key-only",
];

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
}

/// On the reference, which needs no adapter.
pub fn reference_trials() -> Vec<Trial> {
    let of_case = |case: &&'static str| {
        let case = *case;
        trial(format!("golden::reference::{case}"), move || {
            on_every_variant(case, None, Feed::OneByOne, EXACT)
        })
    };
    CASES.iter().map(of_case).collect()
}

/// On an adapter.
pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for case in CASES {
        for (name, feed) in [("prompt", Feed::Prompt), ("one_by_one", Feed::OneByOne)] {
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
    let upload = |gpu| DeviceModel::upload(gpu, &model, &mut |_| {}).map(Arc::new);
    let device_model = gpu.map(upload).transpose()?;
    let mut n_variants = 0;
    for (variant, settings) in variants {
        let settings: Value = serde_json::from_str(settings)?;
        let options = options(&settings, &model)?;
        let mut engine = match &device_model {
            Some(device_model) => Engine::on_device(&model, device_model, &options)?,
            None => Engine::on_host(&model, &options)?,
        };
        let outputs = match feed {
            Feed::Prompt => pollster::block_on(engine.forward(&ids, Logits::All))?,
            Feed::OneByOne => {
                let mut outputs = Vec::new();
                for &id in &ids {
                    outputs.extend(pollster::block_on(engine.forward(&[id], Logits::Last))?);
                }
                outputs
            }
        };
        let logits: Vec<f32> = outputs.iter().flat_map(|o| o.logits.clone()).collect();
        let scores: Vec<f32> = outputs.iter().flat_map(|o| o.scores.clone()).collect();
        let cycles: Vec<i32> = outputs.iter().map(|o| o.cycles as i32).collect();
        let expected = f32s(&golden, &format!("{variant}.logits"))?;
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
        n_ctx: model.config.max_positions,
        kv_type: KvType::F32,
        logits: Logits::All,
    })
}
