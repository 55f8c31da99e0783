//! Decode and prefill end to end on the best adapter, and the time that early exit saves:
//! `cargo bench`.
//!
//! The model is checked against the reference before anything is timed.

use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ztt_wgpu::engine::{DeviceModel, Drafts, Engine, Logits, Options};
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::gpu::adapter::{AdapterChoice, choose};
use ztt_wgpu::kernels::KvType;
use ztt_wgpu::measure::check::{against_reference, token_ids};
use ztt_wgpu::model::config::ExitRule;
use ztt_wgpu::model::synthetic::{Cycled, PRESETS};
use ztt_wgpu::model::{BUILTIN, Fetch, Model};
use ztt_wgpu::reference::Output;

/// Tokens of a prompt, and tokens decoded one by one after half of it.
const N_PROMPT: usize = 256;
const N_DECODE: usize = 4;

/// How deep positions go.
#[derive(Clone, Copy)]
struct Depth {
    name: &'static str,
    cap: Option<usize>,
    threshold: Option<f64>,
}

fn models() -> ztt_wgpu::Result<Vec<Model>> {
    let cycled = Cycled {
        head: 1,
        tail: 1,
        cycles: 4,
    };
    Ok(vec![
        Model::open(BUILTIN, Fetch::Never)?,
        Model::synthetic(&PRESETS[0], Some(cycled))?,
    ])
}

fn engine<'m>(
    model: &'m Model,
    device_model: &Arc<DeviceModel>,
    depth: Depth,
) -> ztt_wgpu::Result<Engine<'m>> {
    let options = Options {
        cap: depth.cap,
        exit: ExitRule {
            threshold: depth.threshold,
            ..model.config.exit()
        },
        n_sequences: 1,
        n_ctx: N_PROMPT,
        kv_type: KvType::F16,
        logits: Logits::Last,
        drafts: Drafts::NONE,
    };
    Engine::on_device(model, device_model, &options)
}

/// Runs `ids` after the first `depth` positions, `batch` at a time.
fn run(
    engine: &mut Engine<'_>,
    depth: usize,
    ids: &[u32],
    batch: usize,
) -> ztt_wgpu::Result<Vec<Output>> {
    engine.truncate(depth);
    let mut outputs = Vec::new();
    for ids in ids.chunks(batch) {
        outputs.extend(pollster::block_on(engine.forward(ids, Logits::Last))?);
    }
    Ok(outputs)
}

/// Full depth, one cycle, and early exit after it: of all, and of half of a prompt's positions.
fn depths(
    model: &Model,
    device_model: &Arc<DeviceModel>,
    prompt: &[u32],
) -> ztt_wgpu::Result<Vec<Depth>> {
    let depth = |name, cap, threshold| Depth {
        name,
        cap,
        threshold,
    };
    let full = depth("full depth", None, None);
    let outputs = run(
        &mut engine(model, device_model, full)?,
        0,
        prompt,
        prompt.len(),
    )?;
    let mut scores: Vec<f32> = outputs
        .iter()
        .filter_map(|o| o.scores.first().copied())
        .collect();
    scores.sort_by(f32::total_cmp);
    let half = depth(
        "half leave",
        None,
        Some(f64::from(scores[scores.len() / 2])),
    );
    let outputs = run(
        &mut engine(model, device_model, half)?,
        0,
        prompt,
        prompt.len(),
    )?;
    let counts =
        (1..=model.config.cycles()).map(|c| outputs.iter().filter(|o| o.cycles == c).count());
    let counts: Vec<usize> = counts.collect();
    eprintln!(
        "{}: half leave: positions by cycles run {counts:?}",
        model.name
    );
    Ok(vec![
        full,
        half,
        depth("all leave", None, Some(0.0)),
        depth("one cycle", Some(1), None),
    ])
}

fn bench(criterion: &mut Criterion) -> ztt_wgpu::Result<()> {
    let Some(adapter) = pollster::block_on(choose(&AdapterChoice::default()))? else {
        eprintln!("no adapter: nothing is measured");
        return Ok(());
    };
    let gpu = Arc::new(pollster::block_on(Gpu::open(&adapter))?);
    eprintln!("adapter: {}", gpu.description());
    for model in models()? {
        let uploaded =
            pollster::block_on(DeviceModel::upload(Arc::clone(&gpu), &model, &mut |_| ()))?;
        let device_model = Arc::new(uploaded);
        against_reference(&model, &device_model)?;
        let ids = token_ids(N_PROMPT, model.config.vocab);
        let depths = depths(&model, &device_model, &ids)?;
        let mut group = criterion.benchmark_group(&model.name);
        group
            .sample_size(10)
            .measurement_time(Duration::from_secs(5));
        for (test, before, n, batch) in [
            ("decode", N_PROMPT / 2, N_DECODE, 1),
            ("prefill", 0, N_PROMPT, N_PROMPT),
        ] {
            for &depth in &depths {
                let mut engine = engine(&model, &device_model, depth)?;
                run(&mut engine, 0, &ids[..before.max(1)], N_PROMPT)?;
                let ids = &ids[before..before + n];
                let mut failure = None;
                group.throughput(Throughput::Elements(n as u64));
                group.bench_function(format!("{test} {n}, {}", depth.name), |bencher| {
                    bencher.iter(|| {
                        if let Err(e) = run(&mut engine, before, ids, batch) {
                            failure.get_or_insert(e);
                        }
                    });
                });
                if let Some(e) = failure {
                    return Err(e);
                }
            }
        }
        group.finish();
    }
    Ok(())
}

fn benches(criterion: &mut Criterion) {
    if let Err(e) = bench(criterion) {
        eprintln!("{e}");
        std::process::exit(1);
    }
}

criterion_group!(engine_benches, benches);
criterion_main!(engine_benches);
