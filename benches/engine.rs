//! Decoding and prompts end to end, on the best adapter: `cargo bench`.
//!
//! The model is checked against the reference before anything is timed.

use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ztt_wgpu::engine::{DeviceModel, Engine, Logits, Options};
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::gpu::adapter::{AdapterChoice, choose};
use ztt_wgpu::kernels::KvType;
use ztt_wgpu::measure::check::{against_reference, token_ids};
use ztt_wgpu::model::config::ExitRule;
use ztt_wgpu::model::synthetic::{Cycled, PRESETS};
use ztt_wgpu::model::{BUILTIN, Fetch, Model};

/// Tokens of a prompt, and tokens decoded one by one.
const N_PROMPT: usize = 64;
const N_DECODE: usize = 4;

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
    threshold: Option<f64>,
) -> ztt_wgpu::Result<Engine<'m>> {
    let options = Options {
        cap: None,
        exit: ExitRule {
            threshold,
            ..model.config.exit()
        },
        n_ctx: 128,
        kv_type: KvType::F16,
        logits: Logits::Last,
    };
    Engine::on_device(model, device_model, &options)
}

/// Runs `ids` from an empty cache, `batch` at a time.
fn run(engine: &mut Engine<'_>, ids: &[u32], batch: usize) -> ztt_wgpu::Result<()> {
    engine.truncate(0);
    for ids in ids.chunks(batch) {
        pollster::block_on(engine.forward(ids, Logits::Last))?;
    }
    Ok(())
}

fn bench(criterion: &mut Criterion) -> ztt_wgpu::Result<()> {
    let Some(adapter) = pollster::block_on(choose(&AdapterChoice::default()))? else {
        eprintln!("no adapter: nothing is measured");
        return Ok(());
    };
    let gpu = Arc::new(pollster::block_on(Gpu::open(&adapter))?);
    eprintln!("adapter: {}", gpu.description());
    for model in models()? {
        let uploaded = DeviceModel::upload(Arc::clone(&gpu), &model, &mut |_| ())?;
        let device_model = Arc::new(uploaded);
        against_reference(&model, &device_model)?;
        let mut group = criterion.benchmark_group(&model.name);
        group
            .sample_size(10)
            .measurement_time(Duration::from_secs(5));
        for (exit, threshold) in [("full depth", None), ("leaving at once", Some(0.0))] {
            for (test, n, batch) in [("decode", N_DECODE, 1), ("prefill", N_PROMPT, N_PROMPT)] {
                let mut engine = engine(&model, &device_model, threshold)?;
                let ids = token_ids(n, model.config.vocab);
                let mut failure = None;
                group.throughput(Throughput::Elements(n as u64));
                group.bench_function(format!("{test} {n}, {exit}"), |bencher| {
                    bencher.iter(|| {
                        if let Err(e) = run(&mut engine, &ids, batch) {
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
