//! Checkpoints as training programs leave them, against the plain checkpoint that they come from:
//! names with prefixes, output projections beside tied embeddings and without them, numbers that
//! JSON does not have.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use ztt_wgpu::engine::{Drafts, Engine, Logits, Options};
use ztt_wgpu::kernels::KvType;
use ztt_wgpu::model::config::ExitRule;
use ztt_wgpu::model::{Fetch, Model};

use crate::compare::same;
use crate::errors::fails;
use crate::fixtures::{path, trial};
use crate::program::succeed;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("loading::prefixes_are_read_away", prefixes),
        trial("loading::two_tensors_of_one_name_are_refused", collisions),
        trial(
            "loading::another_head_beside_a_tied_embedding_is_used",
            other_head,
        ),
        trial(
            "loading::a_copy_of_the_embedding_changes_nothing",
            copied_head,
        ),
        trial("loading::the_head_alone_is_the_embedding", head_alone),
        trial("loading::heads_survive_rewriting", rewritten),
        trial(
            "loading::a_head_of_another_shape_is_refused",
            misshapen_head,
        ),
        trial("loading::numbers_that_are_not_finite_are_read", not_finite),
        trial(
            "loading::an_empty_rope_scaling_hides_nothing",
            empty_rope_scaling,
        ),
        trial("loading::the_other_names_of_gpt2_win", aliases),
        trial(
            "loading::a_window_of_all_layers_is_of_all",
            window_of_all_layers,
        ),
    ]
}

/// A tensor of a file: its type, shape and bytes.
type Stored = (Dtype, Vec<usize>, Vec<u8>);

/// A checkpoint's tensors and config, to be changed and written.
#[derive(Clone)]
struct Parts {
    tensors: HashMap<String, Stored>,
    config: Map<String, Value>,
}

impl Parts {
    fn of(case: &str) -> Result<Self> {
        let bytes = std::fs::read(path(case).join("model.safetensors"))?;
        let tensors = SafeTensors::deserialize(&bytes)?.tensors().into_iter();
        let stored = |view: TensorView| (view.dtype(), view.shape().to_vec(), view.data().to_vec());
        let config = std::fs::read_to_string(path(case).join("config.json"))?;
        Ok(Self {
            tensors: tensors.map(|(name, view)| (name, stored(view))).collect(),
            config: serde_json::from_str(&config)?,
        })
    }

    fn renamed(mut self, rename: impl Fn(&str) -> String) -> Self {
        let tensors = self.tensors.into_iter();
        self.tensors = tensors
            .map(|(name, stored)| (rename(&name), stored))
            .collect();
        self
    }

    fn with(mut self, name: &str, stored: Stored) -> Self {
        self.tensors.insert(name.to_string(), stored);
        self
    }

    fn set(mut self, field: &str, value: Value) -> Self {
        self.config.insert(field.to_string(), value);
        self
    }

    fn get(&self, name: &str) -> Result<Stored> {
        Ok(self
            .tensors
            .get(name)
            .with_context(|| format!("no {name}"))?
            .clone())
    }

    fn write(&self) -> Result<TempDir> {
        let folder = tempfile::tempdir()?;
        let config = Value::Object(self.config.clone()).to_string();
        std::fs::write(folder.path().join("config.json"), config)?;
        let views = self.tensors.iter().map(|(name, (dtype, shape, bytes))| {
            Ok((
                name.as_str(),
                TensorView::new(*dtype, shape.clone(), bytes)?,
            ))
        });
        let views: Result<Vec<_>> = views.collect();
        let bytes = safetensors::serialize(views?, None)?;
        std::fs::write(folder.path().join("model.safetensors"), bytes)?;
        Ok(folder)
    }

    fn open(&self) -> Result<Model> {
        open(self.write()?.path())
    }
}

fn open(folder: &Path) -> Result<Model> {
    Ok(Model::open(folder.to_str().context("path")?, Fetch::Never)?)
}

/// The logits of some tokens, on the host.
fn logits(model: &Model) -> Result<Vec<Vec<f32>>> {
    let options = Options {
        cap: None,
        exit: ExitRule::default(),
        n_sequences: 1,
        n_ctx: 16,
        kv_type: KvType::F32,
        logits: Logits::All,
        drafts: Drafts::NONE,
    };
    let mut engine = Engine::on_host(model, &options)?;
    let outputs = pollster::block_on(engine.forward(&[3, 80, 1, 41, 41, 7], Logits::All))?;
    Ok(outputs.into_iter().map(|output| output.logits).collect())
}

/// The rows of a matrix in the opposite order.
fn reversed((dtype, shape, bytes): Stored) -> Stored {
    let rows = bytes.chunks_exact(bytes.len() / shape[0]).rev();
    let bytes = rows.flatten().copied().collect();
    (dtype, shape, bytes)
}

/// The values of a matrix of bf16 or f16 as f32.
fn widened((dtype, shape, bytes): Stored) -> Stored {
    let widen = |pair: &[u8]| {
        let pair = [pair[0], pair[1]];
        match dtype {
            Dtype::BF16 => half::bf16::from_le_bytes(pair).to_f32(),
            _ => half::f16::from_le_bytes(pair).to_f32(),
        }
    };
    let values = bytes.chunks_exact(2).map(widen);
    (
        Dtype::F32,
        shape,
        values.flat_map(f32::to_le_bytes).collect(),
    )
}

fn prefixes() -> Result<()> {
    let before = |start: &'static str| move |name: &str| format!("{start}{name}");
    for case in ["golden/llama-plain", "golden/llama-key-value", "gpt2-tiny"] {
        let plain = Parts::of(case)?;
        let expected = logits(&plain.open()?)?;
        // The fixture has the names of the base model alone.
        let plain = plain.renamed(|name| match case {
            "gpt2-tiny" => format!("transformer.{name}"),
            _ => name.to_string(),
        });
        let mut renamed = vec![plain.clone()];
        for start in [
            "_orig_mod.",
            "module.",
            "model.",
            "module._orig_mod.",
            "_orig_mod.module.model.",
        ] {
            renamed.push(plain.clone().renamed(before(start)));
        }
        // Of a wrapped part: the output projection and the pool lie beside it.
        renamed.push(
            plain
                .clone()
                .renamed(|name| name.replacen("model.", "model.model.", 1)),
        );
        renamed.push(
            plain
                .clone()
                .renamed(|name| name.replacen("model.", "model._orig_mod.", 1)),
        );
        renamed.push(
            plain
                .clone()
                .renamed(|name| name.replace(".1.", ".1._orig_mod.")),
        );
        for parts in renamed {
            let model = parts.open()?;
            same(case, &model.warnings, &[])?;
            same(case, &logits(&model)?, &expected)?;
        }
    }
    // Copies that are written of it have the plain names.
    let plain = Parts::of("golden/llama-plain")?;
    let wrapped = plain.clone().renamed(before("module.")).write()?;
    let folder = tempfile::tempdir()?;
    let file = folder
        .path()
        .join("packed.safetensors")
        .display()
        .to_string();
    succeed(&["pack", &wrapped.path().display().to_string(), "-o", &file])?;
    let bytes = std::fs::read(file)?;
    let packed = SafeTensors::deserialize(&bytes)?;
    ensure!(
        packed
            .names()
            .into_iter()
            .all(|name| plain.tensors.contains_key(name))
    );
    Ok(())
}

fn collisions() -> Result<()> {
    let plain = Parts::of("golden/llama-plain")?;
    for other in ["_orig_mod.model.norm.weight", "model.model.norm.weight"] {
        let both = plain.clone().with(other, plain.get("model.norm.weight")?);
        let folder = both.write()?;
        let name = folder.path().display().to_string();
        let words = [
            "model.safetensors",
            "`model.norm.weight`",
            "one tensor",
            other,
        ];
        fails(&["inspect", &name], 1, &words)?;
    }
    // A tensor that is missing is named as it should be, a wrong one as it is.
    let wrong = plain.get("model.norm.weight")?;
    let wrong = (wrong.0, vec![1, 64], wrong.2);
    let folder = plain
        .with("model.norm.weight", wrong)
        .renamed(|name| format!("module.{name}"));
    let folder = folder.write()?;
    let name = folder.path().display().to_string();
    fails(
        &["inspect", &name],
        1,
        &["`module.model.norm.weight`", "found shape [1, 64]"],
    )
}

/// Tied checkpoints, and the names of their embeddings.
const TIED: [(&str, &str); 3] = [
    ("families/qwen2", "model.embed_tokens.weight"),
    ("golden/llama-plain", "model.embed_tokens.weight"),
    ("gpt2-tiny", "wte.weight"),
];

fn other_head() -> Result<()> {
    for (case, embedding) in TIED {
        let plain = Parts::of(case)?;
        let tied = logits(&plain.open()?)?;
        let other = plain
            .clone()
            .with("lm_head.weight", reversed(plain.get(embedding)?));
        let model = other.open()?;
        let found = logits(&model)?;
        let expected = tied
            .iter()
            .map(|row| row.iter().rev().copied().collect::<Vec<_>>());
        same(case, &found, &expected.collect::<Vec<_>>())?;
        ensure!(model.warnings.len() == 1, "{case}: {:?}", model.warnings);
        for word in [
            "`tie_word_embeddings` is true",
            "`lm_head.weight`",
            embedding,
        ] {
            ensure!(
                model.warnings[0].contains(word),
                "{case}: {:?}",
                model.warnings
            );
        }
        // The config that is right from the start gives the same, without a warning.
        let said = other.set("tie_word_embeddings", json!(false)).open()?;
        same(case, &said.warnings, &[])?;
        same(case, &logits(&said)?, &found)?;
        same(case, &[said.n_parameters()], &[model.n_parameters()])?;
    }
    Ok(())
}

fn copied_head() -> Result<()> {
    for (case, embedding) in TIED {
        let plain = Parts::of(case)?;
        let expected = plain.open()?;
        let stored = plain.get(embedding)?;
        let mut copies = vec![stored.clone()];
        if stored.0 != Dtype::F32 {
            copies.push(widened(stored));
        }
        for copy in copies {
            let model = plain.clone().with("lm_head.weight", copy).open()?;
            same(case, &model.warnings, &[])?;
            same(case, &logits(&model)?, &logits(&expected)?)?;
            same(case, &[model.n_parameters()], &[expected.n_parameters()])?;
            same(case, &[model.weight_bytes()], &[expected.weight_bytes()])?;
        }
    }
    Ok(())
}

fn head_alone() -> Result<()> {
    for (case, embedding) in TIED {
        let plain = Parts::of(case)?;
        let expected = plain.open()?;
        let alone = plain.renamed(|name| match name == embedding {
            true => "lm_head.weight".to_string(),
            false => name.to_string(),
        });
        for parts in [
            alone.clone(),
            alone.clone().renamed(|name| format!("_orig_mod.{name}")),
        ] {
            let model = parts.open()?;
            same(case, &model.warnings, &[])?;
            same(case, &logits(&model)?, &logits(&expected)?)?;
            same(case, &[model.n_parameters()], &[expected.n_parameters()])?;
        }
        // Untied it is half a model.
        let untied = alone.set("tie_word_embeddings", json!(false)).write()?;
        let name = untied.path().display().to_string();
        fails(&["inspect", &name], 1, &[embedding, "no such tensor"])?;
    }
    Ok(())
}

/// `quantize` and `convert` write checkpoints that open without a warning and give equal logits.
fn rewritten() -> Result<()> {
    let (case, embedding) = ("golden/llama-plain", "model.embed_tokens.weight");
    let plain = Parts::of(case)?;
    let head = |stored| plain.clone().with("lm_head.weight", stored);
    let alone = plain
        .clone()
        .renamed(|name| name.replace(embedding, "lm_head.weight"));
    let copy = head(plain.get(embedding)?);
    let other = head(reversed(plain.get(embedding)?));
    let said = other.clone().set("tie_word_embeddings", json!(false));
    for flags in [
        &["quantize", "--to", "q8_0"][..],
        &["quantize", "--to", "q4_0"],
        &["convert", "--head", "1", "--tail", "1", "--cycles", "1"],
    ] {
        let model = |parts: &Parts| -> Result<(TempDir, Model)> {
            let (folder, out) = (parts.write()?, tempfile::tempdir()?);
            let to = out.path().join("new");
            let names = [folder.path(), &to].map(|path| path.display().to_string());
            succeed(&[&flags[..1], &[&names[0], "-o", &names[1]], &flags[1..]].concat())?;
            let model = open(&to)?;
            same(&names[1], &model.warnings, &[])?;
            Ok((out, model))
        };
        let expected = logits(&model(&plain)?.1)?;
        same("alone", &logits(&model(&alone)?.1)?, &expected)?;
        same("copy", &logits(&model(&copy)?.1)?, &expected)?;
        let expected = logits(&model(&said)?.1)?;
        same("other", &logits(&model(&other)?.1)?, &expected)?;
    }
    // A copy that a quantised checkpoint has as it was.
    let (folder, out) = (plain.write()?, tempfile::tempdir()?);
    let to = out.path().join("new");
    let names = [folder.path(), &to].map(|path| path.display().to_string());
    succeed(&["quantize", &names[0], "-o", &names[1], "--to", "q8_0"])?;
    let expected = logits(&open(&to)?)?;
    let bytes = std::fs::read(to.join("model.safetensors"))?;
    let mut tensors = SafeTensors::deserialize(&bytes)?.tensors();
    let (dtype, shape, copy) = plain.get(embedding)?;
    tensors.push((
        "lm_head.weight".to_string(),
        TensorView::new(dtype, shape, &copy)?,
    ));
    let bytes = safetensors::serialize(tensors, None)?;
    std::fs::write(to.join("model.safetensors"), bytes)?;
    let model = open(&to)?;
    same("as it was", &model.warnings, &[])?;
    same("as it was", &logits(&model)?, &expected)
}

fn misshapen_head() -> Result<()> {
    let plain = Parts::of("golden/llama-plain")?;
    let (dtype, _, bytes) = plain.get("model.embed_tokens.weight")?;
    let head = (dtype, vec![130, 64], bytes[..2 * 130 * 64].to_vec());
    let folder = plain.with("lm_head.weight", head).write()?;
    let name = folder.path().display().to_string();
    let words = [
        "`lm_head.weight`",
        "expected shape [131, 64]",
        "found shape [130, 64]",
    ];
    fails(&["inspect", &name], 1, &words)
}

/// A checkpoint whose config has `fields` before its own.
fn with_text(case: &str, fields: &str) -> Result<TempDir> {
    let parts = Parts::of(case)?;
    let folder = parts.write()?;
    let file = folder.path().join("config.json");
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(file, text.replacen('{', &format!("{{{fields}, "), 1))?;
    Ok(folder)
}

fn not_finite() -> Result<()> {
    let case = "golden/llama-plain";
    let folder = with_text(
        case,
        r#""time_step_limit": [0.0, Infinity], "router_aux_loss": NaN, "note": "NaN, -Infinity",
           "low": -Infinity, "said": {"__float__": "Infinity"}"#,
    )?;
    let file = folder.path().join("generation_config.json");
    std::fs::write(file, r#"{"length_penalty": NaN, "top_k": 7}"#)?;
    let model = open(folder.path())?;
    same("top_k", &[model.generation.top_k], &[Some(7)])?;
    same(case, &logits(&model)?, &logits(&open(&path(case))?)?)?;
    // Other texts are written with it.
    let out = tempfile::tempdir()?;
    let to = out.path().join("new");
    let names = [folder.path(), &to].map(|path| path.display().to_string());
    succeed(&["quantize", &names[0], "-o", &names[1], "--to", "q8_0"])?;
    let config: Value = serde_json::from_str(&std::fs::read_to_string(to.join("config.json"))?)?;
    same("note", &[&config["note"]], &[&json!("NaN, -Infinity")])?;
    same(
        "low",
        &[&config["low"]],
        &[&json!({"__float__": "-Infinity"})],
    )?;
    // A number that is needed must be one.
    for (field, value) in [
        ("rms_norm_eps", "NaN"),
        ("rope_theta", "Infinity"),
        ("hidden_size", "Infinity"),
        ("rope_scaling", "NaN"),
        ("hidden_act", "NaN"),
        ("tie_word_embeddings", "-Infinity"),
        ("eos_token_id", "[NaN]"),
    ] {
        let mut parts = Parts::of(case)?;
        parts.config.remove(field);
        let folder = parts.write()?;
        let file = folder.path().join("config.json");
        let text = std::fs::read_to_string(&file)?;
        std::fs::write(
            file,
            text.replacen('{', &format!("{{\"{field}\": {value}, "), 1),
        )?;
        let name = folder.path().display().to_string();
        let found = format!("found {}", value.trim_matches(['[', ']']));
        fails(
            &["inspect", &name],
            1,
            &["config.json", &format!("`{field}`"), &found],
        )?;
    }
    Ok(())
}

fn empty_rope_scaling() -> Result<()> {
    let parameters = json!({"rope_theta": 1_000_000.0, "rope_type": "default"});
    let mut parts = Parts::of("families/qwen2")?;
    let expected = logits(&parts.open()?)?;
    parts.config.remove("rope_theta");
    let other = logits(&parts.open()?)?;
    ensure!(other != expected, "theta changes nothing");
    for empty in [json!({}), json!(null), json!([]), json!(false), json!("")] {
        let parts = parts.clone().set("rope_scaling", empty.clone());
        let found = logits(
            &parts
                .clone()
                .set("rope_parameters", parameters.clone())
                .open()?,
        )?;
        same(&format!("rope_scaling {empty}"), &found, &expected)?;
        let outside = parts
            .clone()
            .set("rope_parameters", json!({}))
            .set("rope_theta", json!(1e6));
        same(
            &format!("both {empty}"),
            &logits(&outside.open()?)?,
            &expected,
        )?;
    }
    // Settings that ask for nothing are no reason to refuse.
    let nothing = parts
        .set(
            "rope_parameters",
            json!({"rope_theta": 1e6, "partial_rotary_factor": 1.0}),
        )
        .set("partial_rotary_factor", json!(0.5))
        .set("rotary_pct", json!(1))
        .set("per_layer_config", json!({"0": {}}))
        .set("is_causal", json!(true));
    same("nothing", &logits(&nothing.open()?)?, &expected)
}

fn aliases() -> Result<()> {
    let plain = Parts::of("gpt2-tiny")?;
    let expected = logits(&plain.open()?)?;
    let mut renamed = plain.clone();
    for (name, alias) in [
        ("n_embd", "hidden_size"),
        ("n_layer", "num_hidden_layers"),
        ("n_head", "num_attention_heads"),
        ("n_positions", "max_position_embeddings"),
    ] {
        let value = renamed.config.remove(name).context("no such field")?;
        renamed.config.insert(alias.to_string(), value);
    }
    same("renamed", &logits(&renamed.open()?)?, &expected)?;
    let fewer = plain.clone().set("n_layer", json!(2)).open()?;
    let both = plain.set("num_hidden_layers", json!(2)).open()?;
    same("both", &logits(&both)?, &logits(&fewer)?)
}

/// A mistral looks back by its window in every layer, even where `layer_types` says otherwise.
fn window_of_all_layers() -> Result<()> {
    let plain = Parts::of("families/mistral")?.set("sliding_window", json!(2));
    let expected = logits(&plain.open()?)?;
    let types = json!(["full_attention", "full_attention"]);
    let typed = plain.clone().set("layer_types", types);
    same("types", &logits(&typed.open()?)?, &expected)?;
    let wide = plain.set("sliding_window", json!(9)).open()?;
    ensure!(logits(&wide)? != expected, "the window changes nothing");
    Ok(())
}
