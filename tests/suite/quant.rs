//! Quantised weights: the rule by which they are rounded, the device against the reference, copies
//! of checkpoints, and the loss of quality.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use pollster::block_on;
use safetensors::SafeTensors;
use serde_json::{Value, json};
use ztt_wgpu::engine::{DeviceModel, Drafts, Engine, Logits, Options};
use ztt_wgpu::evaluate::score::evaluate;
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::kernels::KvType;
use ztt_wgpu::model::quant::{QUANTS, Quant};
use ztt_wgpu::model::{Fetch, Model};
use ztt_wgpu::reference::Output;

use crate::adapter;
use crate::compare::{rows_close, same};
use crate::errors::fails;
use crate::fixtures::{f32s, path, trial};
use crate::models::SMOLLM2;
use crate::program::{Checkpoint, succeed};

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("quant::blocks_equal_numpys", blocks),
        trial("quant::a_copy_runs_like_the_flag", || {
            copy(&["--adapter", "cpu"], 6)
        }),
        adapter::trial("quant::a_copy_runs_like_the_flag_on_an_adapter", |_| {
            copy(&[], 40)
        }),
        trial("quant::inspect_tells_the_format", inspect),
        trial("quant::bench_tells_the_format", bench),
        trial("quant::refused_checkpoints", refused),
        trial("quant::refused_arguments", arguments),
        smollm2(),
    ];
    // All matrices fit the formats, or all but one of a layer, or one alone, stored transposed.
    for case in ["llama-key-value", "llama-plain", "gpt2-key-only"] {
        trials.extend(adapter::trials_by_class(
            &format!("quant::logits::{case}"),
            move |gpu| logits(gpu, case),
        ));
    }
    trials
}

fn open(name: impl Into<PathBuf>) -> Result<Model> {
    let path: PathBuf = name.into();
    Ok(Model::open(path.to_str().context("path")?, Fetch::Never)?)
}

/// `tests/fixtures/quant/quantize.py` wrote the rows.
fn blocks() -> Result<()> {
    let bytes = std::fs::read(path("quant/rows.safetensors"))?;
    let file = SafeTensors::deserialize(&bytes)?;
    let values = f32s(&file, "values")?;
    for &(name, quant) in QUANTS {
        let mut encoded = Vec::new();
        quant.encode(&values, &mut encoded);
        same(name, &encoded, file.tensor(name)?.data())?;
        let mut widened = vec![f32::NAN; values.len()];
        quant.decode(&encoded, &mut widened);
        same(name, &widened, &f32s(&file, &format!("{name}.widened"))?)?;
        ensure!(widened != values, "{name}: nothing is rounded");
    }
    Ok(())
}

fn options(model: &Model, n_ctx: usize) -> Options {
    Options {
        cap: None,
        exit: model.config.exit(),
        n_sequences: 1,
        n_ctx,
        kv_type: KvType::F32,
        logits: Logits::All,
        drafts: Drafts::NONE,
    }
}

/// Logits of a prompt and of tokens one by one after it.
fn run(engine: &mut Engine, ids: &[u32]) -> Result<Vec<f32>> {
    let (prompt, rest) = ids.split_at(ids.len() / 2);
    let mut outputs: Vec<Output> = block_on(engine.forward(prompt, Logits::All))?;
    for &id in rest {
        outputs.extend(block_on(engine.forward(&[id], Logits::All))?);
    }
    Ok(outputs.into_iter().flat_map(|o| o.logits).collect())
}

fn logits(gpu: Arc<Gpu>, case: &str) -> Result<()> {
    let tolerance = match gpu.info.device_type {
        wgpu::DeviceType::Cpu => 5e-5,
        _ => 2e-4,
    };
    let exact = open(path("golden").join(case))?;
    let vocab = exact.config.vocab;
    let ids: Vec<u32> = (0..24).map(|i| i * 37 % vocab as u32).collect();
    let on_host = |model: &Model| run(&mut Engine::on_host(model, &options(model, 32))?, &ids);
    let exact = on_host(&exact)?;
    for &(name, quant) in QUANTS {
        let what = format!("{case} {name}");
        let model = open(path("golden").join(case))?.with_quant(Some(quant))?;
        let device =
            pollster::block_on(DeviceModel::upload(Arc::clone(&gpu), &model, &mut |_| {}))?;
        let mut engine = Engine::on_device(&model, &Arc::new(device), &options(&model, 32))?;
        let (out, expected) = (run(&mut engine, &ids)?, on_host(&model)?);
        rows_close(&what, &out, &expected, vocab, tolerance)?;
        // The control: rounding changes far more than that.
        let unchanged = rows_close(&what, &out, &exact, vocab, 10.0 * tolerance);
        ensure!(unchanged.is_err(), "{what}: nothing is rounded");
    }
    Ok(())
}

/// A quantised copy of `model` in a folder of its own.
fn quantised(model: &str, name: &str) -> Result<Checkpoint> {
    let copy = Checkpoint::empty()?;
    succeed(&["quantize", model, "-o", &copy.name(), "--to", name])?;
    Ok(copy)
}

fn copy(place: &[&str], n: usize) -> Result<()> {
    let n = n.to_string();
    let rest = [&["ROMEO:", "-n", &n, "--temperature", "0"], place].concat();
    let text = |model: &[&str]| succeed(&[&["run"], model, &rest].concat());
    for (name, _) in QUANTS {
        let copy = quantised("builtin", name)?;
        let expected = text(&["builtin", "--quant", name])?;
        ensure!(expected.len() > 5, "{expected:?}");
        same(name, &[text(&[&copy.name()])?], &[expected])?;
    }
    Ok(())
}

fn inspect() -> Result<()> {
    let inspect = |name: &str| -> Result<Value> {
        Ok(serde_json::from_str(&succeed(&[
            "inspect", name, "--json",
        ])?)?)
    };
    let plain = path("golden/llama-plain").display().to_string();
    let before = inspect(&plain)?;
    for &(name, quant) in QUANTS {
        let copy = quantised(&plain, name)?;
        let after = inspect(&copy.name())?;
        ensure!(after["parameters"] == before["parameters"], "{after}");
        // Of four layers all matrices but `down_proj`, whose 112 inputs do not fit.
        let (embedding, layers) = (64 * 131, 64 * 4 * (64 + 2 * 32 + 64 + 2 * 112));
        let bytes = |quant: Quant| after["bytes_by_dtype"][quant.name().to_uppercase()].as_u64();
        let expected = match quant {
            Quant::Q8_0 => [(quant, embedding + layers)].to_vec(),
            Quant::Q4_0 => [(Quant::Q8_0, embedding), (quant, layers)].to_vec(),
        };
        for (quant, n) in expected {
            let expected = Some(quant.n_bytes(n) as u64);
            ensure!(bytes(quant) == expected, "{name}: {after}");
        }
        ensure!(succeed(&["inspect", &copy.name()])?.contains(&name.to_uppercase()));
    }
    Ok(())
}

fn bench() -> Result<()> {
    let report = succeed(&[
        "bench",
        "--quant",
        "none,q8_0,q4_0",
        "-p",
        "2",
        "-n",
        "0",
        "-r",
        "1",
        "--no-warmup",
        "--adapter",
        "cpu",
        "-o",
        "json",
    ])?;
    let report: Value = serde_json::from_str(&report)?;
    let rows = report["rows"].as_array().context("rows")?;
    let formats: Vec<_> = rows.iter().map(|row| row["quant"].clone()).collect();
    same("formats", &formats[1..], &[json!("q8_0"), json!("q4_0")])?;
    let bytes = |i: usize| rows[i]["size_bytes"].as_u64().unwrap_or(0);
    ensure!(bytes(0) > bytes(1) && bytes(1) > bytes(2), "{rows:?}");
    Ok(())
}

fn refused() -> Result<()> {
    let plain = path("golden/llama-plain").display().to_string();
    let copy = || quantised(&plain, "q8_0");
    let refused = |checkpoint: &Checkpoint, words: &[&str]| {
        fails(
            &[
                "trace",
                &checkpoint.name(),
                "--ids",
                "1 2",
                "--adapter",
                "cpu",
            ],
            1,
            words,
        )
    };
    let method = |value: Value| copy()?.set("/quantization_config", "quant_method", value);
    refused(
        &method(json!("gptq"))?,
        &[
            "config.json",
            "`quantization_config.quant_method`",
            "`q8_0` or `q4_0`",
            "found `gptq`",
        ],
    )?;
    refused(
        &method(Value::Null)?,
        &["`quantization_config.quant_method`", "found nothing"],
    )?;
    refused(
        &method(json!("q4_0"))?,
        &["q_proj", "expected shape [64, 36]", "found shape [64, 68]"],
    )?;
    refused(
        &copy()?.set("", "quantization_config", Value::Null)?,
        &[
            "embed_tokens",
            "expected shape [131, 64]",
            "found shape [131, 68]",
        ],
    )?;
    refused(
        &copy()?.header("\"dtype\":\"U8\"", "\"dtype\":\"I8\"")?,
        &["expected U8, blocks of q8_0", "found I8"],
    )?;
    refused(
        &copy()?.weights(spoil_a_scale)?,
        &["`model.embed_tokens.weight`", "finite values", "element 96"],
    )?;
    fails(
        &["run", &copy()?.name(), "--quant", "q4_0"],
        1,
        &["not quantised yet", "found weights in q8_0"],
    )
}

/// Makes the scale of the fourth block of the embedding a NaN.
fn spoil_a_scale(mut bytes: Vec<u8>) -> Vec<u8> {
    let (header_bytes, header) = SafeTensors::read_metadata(&bytes).expect("a header");
    let info = header
        .info("model.embed_tokens.weight")
        .expect("an embedding");
    let at = 8 + header_bytes + info.data_offsets.0 + 3 * Quant::Q8_0.block_bytes();
    bytes[at..at + 2].copy_from_slice(&[0x01, 0x7e]);
    bytes
}

fn arguments() -> Result<()> {
    let formats = "q8_0, q4_0";
    for arguments in [
        &["run", "--quant", "q5_1"][..],
        &["bench", "--quant", "q5_1"],
        &["quantize", "-o", "/nowhere", "--to", "f16"],
    ] {
        fails(arguments, 2, &[arguments[arguments.len() - 1], formats])?;
    }
    fails(&["quantize", "--to", "q8_0"], 2, &["--output"])?;
    let full = Checkpoint::copy_of("llama-plain")?;
    fails(
        &["quantize", "-o", &full.name(), "--to", "q8_0"],
        1,
        &[&full.name(), "new or empty folder"],
    )?;
    fails(
        &["quantize", "-o", "/dev/null/x", "--to", "q8_0"],
        1,
        &["/dev/null/x"],
    )
}

/// Perplexity of the first 512 tokens of the text with the weights that NumPy rounded to q4_0:
/// `quantize.py model SMOLLM2 FOLDER q4_0`, then
/// `ztt-wgpu perplexity FOLDER --file tests/fixtures/classics-val.txt --limit 512 --kv-type f32`.
const NUMPYS_Q4_0: f64 = 40.318107;

fn smollm2() -> Trial {
    let name = "quant::smollm2_135m_loses_little";
    let Some(folder) = std::env::var_os(SMOLLM2).map(PathBuf::from) else {
        let skipped = trial(name, || Ok(()));
        return skipped
            .with_kind(format!("{SMOLLM2} is not set"))
            .with_ignored_flag(true);
    };
    adapter::trial(name, move |gpu| {
        let text = std::fs::read_to_string(path("classics-val.txt"))?;
        let perplexity = |quant| -> Result<f64> {
            let model = open(folder.clone())?.with_quant(quant)?;
            let ids = model.tokenizer()?.encode(&text)?;
            let device =
                pollster::block_on(DeviceModel::upload(Arc::clone(&gpu), &model, &mut |_| {}))?;
            let options = options(&model, 512);
            let mut engine = Engine::on_device(&model, &Arc::new(device), &options)?;
            let evaluation = block_on(evaluate(&mut engine, &ids[..512], &|_| ()))?;
            let nats = evaluation.scored.iter().map(|scored| scored.nats);
            Ok((nats.sum::<f64>() / evaluation.scored.len() as f64).exp())
        };
        let f16 = perplexity(None)?;
        let q8_0 = perplexity(Some(Quant::Q8_0))?;
        let q4_0 = perplexity(Some(Quant::Q4_0))?;
        println!("perplexity: f16 {f16:.4}, q8_0 {q8_0:.4}, q4_0 {q4_0:.4}");
        ensure!((q8_0 / f16 - 1.0).abs() < 0.005, "q8_0 {q8_0}, f16 {f16}");
        ensure!(
            (q4_0 / NUMPYS_Q4_0 - 1.0).abs() < 0.001,
            "q4_0 {q4_0}, with NumPy's rounding {NUMPYS_Q4_0}"
        );
        Ok(())
    })
}
