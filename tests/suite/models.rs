//! Models of other makers against Hugging Face transformers, and what must hold for every model:
//! a prompt and its tokens one by one agree, a cap is an exit, one submission a token.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use safetensors::SafeTensors;
use serde_json::Value;
use ztt_wgpu::engine::sampling::top;
use ztt_wgpu::engine::{DeviceModel, Drafts, Engine, Logits, Options};
use ztt_wgpu::gpu::{Gpu, KernelClass};
use ztt_wgpu::kernels::KvType;
use ztt_wgpu::model::config::{ExitRule, KvPolicy};
use ztt_wgpu::model::{BUILTIN, Fetch, Model};
use ztt_wgpu::reference::Output;

use crate::adapter;
use crate::compare::{all_close, rows_close, same};
use crate::fixtures::{f32s, i32s, path, trial};

/// The folder that `tests/fixtures/smollm2/smollm2_to_hf.py` wrote.
pub const SMOLLM2: &str = "ZTT_SMOLLM2";

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        smollm2(),
        trial("models::gpt2_tiny::reference", || gpt2_tiny(None)),
        adapter::trial("models::gpt2_tiny::adapter", |gpu| gpt2_tiny(Some(gpu))),
        adapter::trial("models::a_cap_is_an_exit_of_every_position", cap_is_exit),
        adapter::trial(
            "models::one_submission_and_one_read_back_a_token",
            work_per_token,
        ),
        adapter::trial("models::f16_cache_is_close", f16_cache),
        adapter::trial_of(
            Some(KernelClass::Software),
            "models::a_context_beyond_textures",
            context_beyond_textures,
        ),
        adapter::trial(
            "models::a_vocabulary_larger_than_a_binding",
            large_vocabulary,
        ),
        adapter::trial(
            "models::the_cache_can_be_cut_and_filled_to_the_end",
            cut_and_fill,
        ),
    ];
    trials.extend(adapter::trials_by_class(
        "models::a_position_does_not_depend_on_what_runs_with_it",
        neighbours,
    ));
    trials.extend(adapter::trials_by_class(
        "models::few_rows_run_one_by_one_on_textures",
        few_rows,
    ));
    trials
}

fn options(model: &Model, exit: ExitRule) -> Options {
    Options {
        cap: None,
        exit,
        n_sequences: 1,
        n_ctx: model.config.max_positions.min(512),
        kv_type: KvType::F32,
        logits: Logits::All,
        drafts: Drafts::NONE,
    }
}

fn upload(gpu: Arc<Gpu>, model: &Model) -> Result<Arc<DeviceModel>> {
    Ok(Arc::new(pollster::block_on(DeviceModel::upload(
        gpu,
        model,
        &mut |_| {},
    ))?))
}

fn prompt(engine: &mut Engine, ids: &[u32]) -> Result<Vec<Output>> {
    Ok(pollster::block_on(engine.forward(ids, Logits::All))?)
}

fn one_by_one(engine: &mut Engine, ids: &[u32]) -> Result<Vec<Output>> {
    let mut outputs = Vec::new();
    for &id in ids {
        outputs.extend(prompt(engine, &[id])?);
    }
    Ok(outputs)
}

/// `n` tokens after `ids`, each the likeliest.
pub fn greedy(engine: &mut Engine, ids: &[u32], n: usize) -> Result<(Vec<f32>, Vec<u32>)> {
    let mut last = pollster::block_on(engine.forward(ids, Logits::Last))?.pop();
    let first_logits = last.as_ref().context("no output")?.logits.clone();
    let mut tokens = Vec::new();
    while tokens.len() < n {
        let id = top(&last.context("no output")?.logits, 1)[0].0;
        tokens.push(id);
        last = pollster::block_on(engine.forward(&[id], Logits::Last))?.pop();
    }
    Ok((first_logits, tokens))
}

/// The classics model and a text in its own words.
fn classics() -> Result<(Model, Vec<u32>)> {
    let model = Model::open(BUILTIN, Fetch::Never)?;
    let text = "ROMEO:\nBut soft, what light through yonder window breaks?\n\
                In the beginning God created the heaven and the earth. Call me Ishmael. ";
    let ids = model.tokenizer()?.encode(&text.repeat(4))?;
    ensure!(ids.len() > 150 && ids.len() < 384, "{} tokens", ids.len());
    Ok((model, ids))
}

fn smollm2() -> Trial {
    let name = "models::smollm2_135m_equals_transformers";
    let Some(folder) = std::env::var_os(SMOLLM2).map(PathBuf::from) else {
        let reason = format!("{SMOLLM2} is not set");
        let skipped = trial(name, || Ok(()));
        return skipped.with_kind(reason).with_ignored_flag(true);
    };
    adapter::trial(name, move |gpu| {
        let expected = std::fs::read_to_string(path("smollm2/expected.json"))?;
        let expected: Value = serde_json::from_str(&expected)?;
        let model = Model::open(folder.to_str().context("path")?, Fetch::Never)?;
        let tokenizer = model.tokenizer()?;
        let device_model = upload(gpu, &model)?;
        let prompts = expected["prompts"].as_array().context("prompts")?;
        ensure!(prompts.len() == 3, "{} prompts", prompts.len());
        for case in prompts {
            let text = case["text"].as_str().context("text")?;
            let ids: Vec<u32> = serde_json::from_value(case["ids"].clone())?;
            same("ids", &tokenizer.encode(text)?, &ids)?;
            let best: Vec<(u32, f32)> = serde_json::from_value(case["top5"].clone())?;
            let tokens: Vec<u32> = serde_json::from_value(case["greedy"].clone())?;
            let options = options(&model, ExitRule::default());
            let mut engine = Engine::on_device(&model, &device_model, &options)?;
            let (logits, found) = greedy(&mut engine, &ids, tokens.len())?;
            let (best_ids, best_logits): (Vec<u32>, Vec<f32>) = best.into_iter().unzip();
            let (top_ids, top_logits): (Vec<u32>, Vec<f32>) = top(&logits, 5).into_iter().unzip();
            same(&format!("{text:?} top five"), &top_ids, &best_ids)?;
            all_close(&format!("{text:?} logits"), &top_logits, &best_logits, 1e-3)?;
            same(&format!("{text:?} greedy"), &found, &tokens)?;
        }
        Ok(())
    })
}

fn gpt2_tiny(gpu: Option<Arc<Gpu>>) -> Result<()> {
    let folder = path("gpt2-tiny");
    let bytes = std::fs::read(folder.join("expected.safetensors"))?;
    let expected = SafeTensors::deserialize(&bytes)?;
    let unsigned = |ids: Vec<i32>| -> Vec<u32> { ids.iter().map(|&id| id as u32).collect() };
    let ids = unsigned(i32s(&expected, "ids")?);
    let tokens = unsigned(i32s(&expected, "greedy")?);
    let model = Model::open(folder.to_str().context("path")?, Fetch::Never)?;
    let options = options(&model, ExitRule::default());
    let mut engine = match gpu {
        Some(gpu) => Engine::on_device(&model, &upload(gpu, &model)?, &options)?,
        None => Engine::on_host(&model, &options)?,
    };
    let logits: Vec<f32> = prompt(&mut engine, &ids)?
        .into_iter()
        .flat_map(|o| o.logits)
        .collect();
    // transformers computes in float32 itself.
    let vocab = model.config.vocab;
    rows_close(
        "gpt2-tiny logits",
        &logits,
        &f32s(&expected, "logits")?,
        vocab,
        1e-5,
    )?;
    engine.truncate(0);
    let (_, found) = greedy(&mut engine, &ids, tokens.len())?;
    same("gpt2-tiny greedy", &found, &tokens)
}

/// Rows of a prompt do not mix: cut otherwise, it gives the same bits. So do two to eight positions
/// that run together, and each of them alone: other kernels than those of a prompt, whose sums have
/// another order.
fn neighbours(gpu: Arc<Gpu>) -> Result<()> {
    let (model, ids) = classics()?;
    let device_model = upload(gpu, &model)?;
    for kv in [KvPolicy::Propagate, KvPolicy::Share] {
        let exit = ExitRule {
            kv,
            ..model.config.exit()
        };
        let options = options(&model, exit);
        let mut engine = Engine::on_device(&model, &device_model, &options)?;
        let whole = prompt(&mut engine, &ids)?;
        let exits: Vec<usize> = whole.iter().map(|o| o.cycles).collect();
        for cycles in 1..=3 {
            ensure!(exits.contains(&cycles), "no position runs {cycles} cycles");
        }
        engine.truncate(0);
        let alone = one_by_one(&mut engine, &ids)?;
        for (i, (alone, whole)) in alone.iter().zip(&whole).enumerate() {
            let what = format!("{kv:?} position {i} alone");
            ensure!(
                alone.cycles == whole.cycles,
                "{what}: {} cycles",
                alone.cycles
            );
            all_close(&what, &alone.logits, &whole.logits, 5e-4)?;
        }
        let what = format!("{kv:?} in pieces");
        same_bits(&what, &in_pieces(&mut engine, &ids, &[9, 40, 17])?, &whole)?;
        let what = format!("{kv:?}, few");
        let few = in_pieces(&mut engine, &ids, &[2, 3, 4, 5, 6, 7, 8])?;
        same_bits(&what, &few, &alone)?;
        // The control: another token somewhere changes what comes after it, and only that.
        let mut other = ids.clone();
        other[100] = (other[100] + 1) % 2048;
        engine.truncate(0);
        let changed = prompt(&mut engine, &other)?;
        same("before the change", &changed[..100], &whole[..100])?;
        ensure!(
            changed[100..] != whole[100..],
            "a changed token changes nothing"
        );
    }
    Ok(())
}

/// A text from its beginning in pieces of these lengths, in turn; the last one may be shorter, but
/// no shorter than the least of them.
fn in_pieces(engine: &mut Engine, ids: &[u32], lengths: &[usize]) -> Result<Vec<Output>> {
    engine.truncate(0);
    let least = lengths.iter().min().copied().unwrap_or(1);
    let mut outputs = Vec::new();
    for &length in lengths.iter().cycle() {
        let rest = &ids[outputs.len()..];
        if rest.is_empty() {
            break;
        }
        let n = match rest.len() < length + least {
            true => rest.len(),
            false => length,
        };
        outputs.extend(prompt(engine, &rest[..n])?);
    }
    Ok(outputs)
}

/// [`same`], in fewer words.
fn same_bits(what: &str, out: &[Output], expected: &[Output]) -> Result<()> {
    for (i, (out, expected)) in out.iter().zip(expected).enumerate() {
        let n = out.logits.iter().zip(&expected.logits);
        let n = n.filter(|(a, b)| a != b).count();
        ensure!(out == expected, "{what}: position {i}: {n} logits differ");
    }
    same(what, &[out.len()], &[expected.len()])
}

/// `--cycles C` gives the logits of threshold 0 with `min_cycles` C under `propagate`.
fn cap_is_exit(gpu: Arc<Gpu>) -> Result<()> {
    let (model, ids) = classics()?;
    let device_model = upload(gpu, &model)?;
    for cap in 1..=3 {
        let capped = Options {
            cap: Some(cap),
            ..options(&model, ExitRule::default())
        };
        let exit = ExitRule {
            threshold: Some(0.0),
            min_cycles: cap,
            ..ExitRule::default()
        };
        let exiting = options(&model, exit);
        let mut outputs = Vec::new();
        for options in [&capped, &exiting] {
            let mut engine = Engine::on_device(&model, &device_model, options)?;
            outputs.push(prompt(&mut engine, &ids)?);
        }
        for (capped, exiting) in outputs[0].iter().zip(&outputs[1]) {
            same("logits", &capped.logits, &exiting.logits)?;
            same("cycles", &[capped.cycles], &[exiting.cycles])?;
            same("scores", &capped.scores, &exiting.scores[..cap])?;
        }
    }
    Ok(())
}

fn work_per_token(gpu: Arc<Gpu>) -> Result<()> {
    let (model, ids) = classics()?;
    let device_model = upload(gpu, &model)?;
    for threshold in [None, Some(0.0), Some(0.4)] {
        let exit = ExitRule {
            threshold,
            ..model.config.exit()
        };
        let mut engine = Engine::on_device(&model, &device_model, &options(&model, exit))?;
        prompt(&mut engine, &ids[..20])?;
        let before = engine.work();
        for &id in &ids[20..30] {
            pollster::block_on(engine.forward(&[id], Logits::Last))?;
        }
        let after = engine.work();
        same(
            "submissions and read-backs of ten tokens",
            &[
                after.submissions - before.submissions,
                after.read_backs - before.read_backs,
            ],
            &[10, 10],
        )?;
    }
    Ok(())
}

/// A short prompt takes as many submissions as the class wants, and gives the logits that its
/// tokens give one by one.
fn few_rows(gpu: Arc<Gpu>) -> Result<()> {
    let (model, ids) = classics()?;
    let on_textures = gpu.target.class == KernelClass::Software;
    let device_model = upload(gpu, &model)?;
    let options = options(&model, ExitRule::default());
    for n in [1, 3, 16, 17] {
        let mut engine = Engine::on_device(&model, &device_model, &options)?;
        let expected = one_by_one(&mut engine, &ids[..n])?;
        engine.truncate(0);
        let before = engine.work();
        let found = pollster::block_on(engine.forward(&ids[..n], Logits::Last))?;
        let submissions = engine.work().since(&before).submissions;
        let wanted = if on_textures && n <= 16 { n } else { 1 };
        same("submissions", &[submissions], &[wanted as u64])?;
        let (found, expected) = (&found[n - 1].logits, &expected[n - 1].logits);
        let vocab = model.config.vocab;
        rows_close("logits", found, expected, vocab, 1e-4)?;
        let other = pollster::block_on(engine.forward(&ids[n..n + 1], Logits::Last))?;
        let wrong = rows_close("logits", &other[0].logits, expected, vocab, 1e-4);
        ensure!(wrong.is_err(), "another token's logits pass");
    }
    Ok(())
}

/// A context for which a row of attention scores is longer than a texture is refused in words that
/// say what is too long.
fn context_beyond_textures(gpu: Arc<Gpu>) -> Result<()> {
    let (mut model, _) = classics()?;
    let limit = gpu.target.limits.max_texture_dimension_2d as usize;
    let n_ctx = 4 * limit + 1;
    model.config.max_positions = n_ctx;
    let device_model = upload(gpu, &model)?;
    let options = Options {
        n_ctx,
        ..options(&model, ExitRule::default())
    };
    let refused = Engine::on_device(&model, &device_model, &options);
    let error = refused.err().context("nothing is refused")?.to_string();
    let found = n_ctx.next_multiple_of(8) / 4;
    let words = format!("at most {limit} texels a side of a texture, found {found}");
    ensure!(error.contains(&words), "no `{words}` in: {error}");
    ensure!(error.contains("attention scores"), "{error}");
    Ok(())
}

/// A KV cache of f16 changes logits by no more than 2e-2, and no top token.
fn f16_cache(gpu: Arc<Gpu>) -> Result<()> {
    let (model, ids) = classics()?;
    let device_model = upload(gpu, &model)?;
    let exact = options(&model, ExitRule::default());
    let halves = Options {
        kv_type: KvType::F16,
        ..exact.clone()
    };
    let mut runs = Vec::new();
    for options in [&exact, &halves] {
        let mut engine = Engine::on_device(&model, &device_model, options)?;
        runs.push(prompt(&mut engine, &ids)?);
    }
    let mut differs = false;
    for (exact, halves) in runs[0].iter().zip(&runs[1]) {
        let vocab = model.config.vocab;
        rows_close("f16 cache", &halves.logits, &exact.logits, vocab, 2e-2)?;
        same(
            "top",
            &[top(&halves.logits, 1)[0].0],
            &[top(&exact.logits, 1)[0].0],
        )?;
        differs |= halves.logits != exact.logits;
    }
    ensure!(differs, "the cache type changes nothing");
    Ok(())
}

/// Positions can be forgotten and run again, and the last position of the context is usable. Again
/// they are so many that a prompt's kernels run them.
fn cut_and_fill(gpu: Arc<Gpu>) -> Result<()> {
    let (model, ids) = classics()?;
    let device_model = upload(gpu, &model)?;
    let options = Options {
        n_ctx: ids.len(),
        ..options(&model, model.config.exit())
    };
    let mut engine = Engine::on_device(&model, &device_model, &options)?;
    let whole = prompt(&mut engine, &ids)?;
    let full = pollster::block_on(engine.forward(&[1], Logits::Last));
    ensure!(full.is_err(), "a full context took another token");
    engine.truncate(ids.len() - 9);
    let again = prompt(&mut engine, &ids[ids.len() - 9..])?;
    same("the end again", &again, &whole[ids.len() - 9..])
}

/// An untied embedding of 150,000 x 4,096 in f16, larger than what many adapters bind at once:
/// embedding and output projection are split by rows.
fn large_vocabulary(gpu: Arc<Gpu>) -> Result<()> {
    const VOCAB: usize = 150_000;
    const HIDDEN: usize = 4096;
    let folder = tempfile::tempdir()?;
    let config = serde_json::json!({
        "model_type": "llama", "hidden_size": HIDDEN, "num_hidden_layers": 1,
        "num_attention_heads": 1, "head_dim": 8, "intermediate_size": 8, "vocab_size": VOCAB,
        "max_position_embeddings": 16,
    });
    std::fs::write(folder.path().join("config.json"), config.to_string())?;
    let file = folder.path().join("model.safetensors");
    let layer =
        |name: &str, shape: &[usize]| (format!("model.layers.0.{name}.weight"), shape.to_vec());
    let tensors = [
        ("model.embed_tokens.weight".to_string(), vec![VOCAB, HIDDEN]),
        ("lm_head.weight".to_string(), vec![VOCAB, HIDDEN]),
        ("model.norm.weight".to_string(), vec![HIDDEN]),
        layer("input_layernorm", &[HIDDEN]),
        layer("post_attention_layernorm", &[HIDDEN]),
        layer("self_attn.q_proj", &[8, HIDDEN]),
        layer("self_attn.k_proj", &[8, HIDDEN]),
        layer("self_attn.v_proj", &[8, HIDDEN]),
        layer("self_attn.o_proj", &[HIDDEN, 8]),
        layer("mlp.gate_proj", &[8, HIDDEN]),
        layer("mlp.up_proj", &[8, HIDDEN]),
        layer("mlp.down_proj", &[HIDDEN, 8]),
    ];
    // A file with holes: all weights are zero but a few rows of the embedding and the projection
    // on both sides of every border, and the final norm.
    let (mut header, mut end) = (serde_json::Map::new(), 0);
    for (name, shape) in &tensors {
        let start = end;
        end += 2 * shape.iter().product::<usize>();
        let info =
            serde_json::json!({"dtype": "F16", "shape": shape, "data_offsets": [start, end]});
        header.insert(name.clone(), info);
    }
    let header = Value::Object(header).to_string();
    let out = std::fs::File::create(&file)?;
    let data = 8 + header.len() as u64;
    let write = |bytes: &[u8], at: u64| -> Result<()> {
        use std::io::{Seek, SeekFrom, Write};
        (&out).seek(SeekFrom::Start(at))?;
        Ok((&out).write_all(bytes)?)
    };
    out.set_len(data + end as u64)?;
    write(&(header.len() as u64).to_le_bytes(), 0)?;
    write(header.as_bytes(), 8)?;
    let mut random = crate::random::Random::new(3);
    let mut halves = |n: usize| -> Vec<u8> {
        let values = random.normals(n).into_iter().map(half::f16::from_f32);
        values.flat_map(half::f16::to_le_bytes).collect()
    };
    let row_bytes = 2 * HIDDEN as u64;
    let mut rows = vec![0, 1, 77_777, VOCAB as u64 - 1];
    let a_part = gpu.target.limits.max_storage_buffer_binding_size / row_bytes;
    rows.extend(
        (1..9)
            .map(|i| i * a_part)
            .filter(|&r| r < VOCAB as u64)
            .flat_map(|r| [r - 1, r]),
    );
    for &row in &rows {
        write(&halves(HIDDEN), data + row * row_bytes)?;
        write(&halves(HIDDEN), data + (VOCAB as u64 + row) * row_bytes)?;
    }
    write(&halves(HIDDEN), data + 2 * VOCAB as u64 * row_bytes)?;
    drop(out);

    let model = Model::open(folder.path().to_str().context("path")?, Fetch::Never)?;
    let options = Options {
        n_ctx: 16,
        ..options(&model, ExitRule::default())
    };
    let ids: Vec<u32> = rows.iter().take(4).map(|&r| r as u32).collect();
    let mut host = Engine::on_host(&model, &options)?;
    let expected = pollster::block_on(host.forward(&ids, Logits::Last))?;
    let mut device = Engine::on_device(&model, &upload(gpu, &model)?, &options)?;
    let found = pollster::block_on(device.forward(&ids, Logits::Last))?;
    let (found, expected) = (&found[3].logits, &expected[3].logits);
    let alive = rows
        .iter()
        .filter(|&&r| expected[r as usize] != 0.0)
        .count();
    ensure!(
        alive == rows.len(),
        "{alive} of {} rows give a logit",
        rows.len()
    );
    rows_close("logits", found, expected, VOCAB, 5e-5)
}
