//! Keys and values in f16 and q8_0: whole models on a device against a reference that rounds alike,
//! and what rounding costs on a text.

use std::sync::Arc;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use pollster::block_on;
use ztt_wgpu::engine::{DeviceModel, Drafts, Engine, Logits, Options};
use ztt_wgpu::evaluate::figures::Figures;
use ztt_wgpu::evaluate::score::{Evaluation, evaluate};
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::kernels::KvType;
use ztt_wgpu::measure::check::token_ids;
use ztt_wgpu::model::config::{ExitRule, KvPolicy};
use ztt_wgpu::model::{BUILTIN, Fetch, Model};
use ztt_wgpu::reference::Output;
use ztt_wgpu::schedule::{Rule, TextRules};

use crate::adapter;
use crate::compare::{rows_close, same};
use crate::fixtures::path;
use crate::golden;

/// Types that round, each with the relative error of a row of logits that is allowed. A value whose
/// last bits differ may be rounded to the neighbouring number: one in some thousands in f16, and in
/// some ten thousands in q8_0, where numbers lie farther apart. The worst on llvmpipe are 2.2e-3 and
/// 1.3e-2.
const ROUNDING: [(KvType, f64); 2] = [(KvType::F16, 3e-3), (KvType::Q8_0, 2e-2)];

/// Times as much is allowed of random stacks of loops, which magnify rounding: 8e-3 was seen in f16.
const MAGNIFIED: f64 = 10.0;

/// How much perplexity rises at most, in percent.
const RISES: [(KvType, f64); 2] = [(KvType::F16, 0.1), (KvType::Q8_0, 0.5)];

/// Positions of a prompt, and of those decoded after it.
const N_PROMPT: usize = 40;
const N_DECODE: usize = 8;

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for &case in golden::CASES {
        for (kv_type, allowed) in ROUNDING {
            let allowed = match golden::is_looped(case) {
                true => MAGNIFIED * allowed,
                false => allowed,
            };
            let name = format!("kv_types::golden::{}::{case}", kv_type.name());
            trials.extend(adapter::trials_by_class(&name, move |gpu| {
                equals_reference(case, kv_type, allowed, gpu)
            }));
        }
    }
    trials.push(adapter::trial("kv_types::perplexity", perplexity));
    trials
}

fn upload(gpu: Arc<Gpu>, model: &Model) -> Result<Arc<DeviceModel>> {
    let device_model = block_on(DeviceModel::upload(gpu, model, &mut |_| {}))?;
    Ok(Arc::new(device_model))
}

fn options(model: &Model, kv_type: KvType, kv: KvPolicy, n_ctx: usize) -> Options {
    Options {
        cap: None,
        exit: ExitRule {
            kv,
            ..ExitRule::default()
        },
        n_sequences: 1,
        n_ctx: model.config.max_positions.min(n_ctx),
        kv_type,
        logits: Logits::All,
        drafts: Drafts::NONE,
    }
}

/// The device is as near as `allowed` to the reference that rounds alike, and much nearer than to
/// the one that does not round. Positions run all cycles, or leave after the first one.
fn equals_reference(case: &str, kv_type: KvType, allowed: f64, gpu: Arc<Gpu>) -> Result<()> {
    let model = golden::open(case)?;
    let device_model = upload(gpu, &model)?;
    let vocab = model.config.vocab;
    let ids = token_ids(N_PROMPT + N_DECODE, vocab);
    for (max_cycles, kv) in [
        (usize::MAX, KvPolicy::Propagate),
        (1, KvPolicy::Propagate),
        (1, KvPolicy::Share),
    ] {
        let options = options(&model, kv_type, kv, ids.len());
        let mut device = Engine::on_device(&model, &device_model, &options)?;
        let mut alike = Engine::on_host_as_stored(&model, &options)?;
        let mut exact = Engine::on_host(&model, &options)?;
        let runs =
            [&mut device, &mut alike, &mut exact].map(|engine| run(engine, &ids, max_cycles));
        let [device, alike, exact] = runs;
        let (device, alike, exact) = (device?, alike?, exact?);
        let depth = match max_cycles {
            usize::MAX => "all cycles".to_string(),
            n => format!("at most {n} cycle"),
        };
        let what = format!("{case}, {depth}, {kv:?}");
        let cycles = |outputs: &[Output]| -> Vec<usize> {
            outputs.iter().map(|output| output.cycles).collect()
        };
        same(&what, &cycles(&device), &cycles(&alike))?;
        let [device, alike, exact] = [device, alike, exact].map(|outputs| -> Vec<f32> {
            outputs
                .into_iter()
                .flat_map(|output| output.logits)
                .collect()
        });
        rows_close(&what, &device, &alike, vocab, allowed)?;
        let (near, far) = (distance(&device, &alike), distance(&device, &exact));
        ensure!(
            near < 0.5 * far,
            "{what}: {near:.1e} from the reference that rounds alike, {far:.1e} from the exact one"
        );
    }
    Ok(())
}

/// A prompt at once, and positions after it one by one.
fn run(engine: &mut Engine, ids: &[u32], max_cycles: usize) -> Result<Vec<Output>> {
    let drawn = Rule {
        max_cycles,
        ..Rule::FULL_DEPTH
    };
    engine.set_rules(TextRules {
        drawn,
        exit_prompt: false,
    });
    let mut outputs = block_on(engine.forward(&ids[..N_PROMPT], Logits::All))?;
    for &id in &ids[N_PROMPT..] {
        outputs.extend(block_on(engine.forward(&[id], Logits::All))?);
    }
    Ok(outputs)
}

/// The size of the difference.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    let squares = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2));
    squares.sum::<f64>().sqrt()
}

/// On the embedded model, with the first tokens of a text.
fn perplexity(gpu: Arc<Gpu>) -> Result<()> {
    const N_TOKENS: usize = 512;
    let model = Model::open(BUILTIN, Fetch::Never)?;
    let text = std::fs::read_to_string(path("classics-val.txt"))?;
    let ids = model.tokenizer()?.encode(&text)?;
    ensure!(ids.len() >= N_TOKENS, "{} tokens", ids.len());
    let device_model = upload(gpu, &model)?;
    let evaluated = |kv_type| -> Result<Evaluation> {
        let options = options(&model, kv_type, KvPolicy::Propagate, N_TOKENS);
        let mut engine = Engine::on_device(&model, &device_model, &options)?;
        Ok(block_on(evaluate(&mut engine, &ids[..N_TOKENS], &|_| ()))?)
    };
    let exact = evaluated(KvType::F32)?;
    let full = Figures::new(&exact, &exact);
    for (kv_type, most) in RISES {
        let figures = Figures::new(&evaluated(kv_type)?, &exact);
        let (name, rise) = (kv_type.name(), figures.rise_percent(&full));
        println!("perplexity with keys and values in {name}: {rise:+.3} %");
        ensure!(rise <= most, "{name}: {rise:.3} %, allowed {most} %");
        ensure!(figures.nats != full.nats, "{name} changes nothing");
    }
    Ok(())
}
