//! Random models of every shape: the adapter against the reference.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use half::{bf16, f16};
use libtest_mimic::Trial;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::model::{Fetch, Model};

use crate::adapter;
use crate::families::adapter_equals_reference;
use crate::random::Random;
use crate::thorough;

/// How many shapes are drawn.
const SHAPES: &str = "ZTT_SHAPES";
const DEFAULT_SHAPES: usize = 200;
const SAMPLED_SHAPES: usize = 14;

/// More heads than a texture has room for with a batch of rows each: on such a device the class
/// `software` keeps everything in buffers.
const MANY_HEADS: usize = 130;

/// Trials the shapes are shared out over, so that they run in parallel and fail apart.
const TRIALS: usize = 8;

pub fn trials() -> Vec<Trial> {
    let asked = std::env::var(SHAPES).ok().and_then(|n| n.parse().ok());
    let n: usize = asked.unwrap_or(if thorough::is_on() {
        DEFAULT_SHAPES
    } else {
        SAMPLED_SHAPES
    });
    let shapes = (0..TRIALS).map(|i| {
        adapter::trial(format!("property::shapes_{i}_of_{TRIALS}"), move |gpu| {
            (i..n)
                .step_by(TRIALS)
                .try_for_each(|seed| check(seed as u64, None, &gpu))
        })
    });
    let many_heads = adapter::trial("property::many_heads", |gpu| {
        check(0, Some(MANY_HEADS), &gpu)
    });
    shapes.chain([many_heads]).collect()
}

/// `heads`: of that many, in a shape that is drawn otherwise.
fn check(seed: u64, heads: Option<usize>, gpu: &Arc<Gpu>) -> Result<()> {
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir()?;
    let config = write(folder.path(), heads, &mut random)?;
    let what = || format!("seed {seed}: {config}");
    let model =
        Model::open(folder.path().to_str().context("path")?, Fetch::Never).with_context(what)?;
    adapter_equals_reference("", &model, Arc::clone(gpu), &mut random).with_context(what)
}

/// Draws a checkpoint, writes it to `folder`, and returns its config.
fn write(folder: &Path, heads: Option<usize>, random: &mut Random) -> Result<Value> {
    let mut draw = |from: usize, to: usize| from + random.below(to + 1 - from);
    let family = ["llama", "llama", "mistral", "qwen2", "qwen3", "gpt2"][draw(0, 5)];
    let group = if family == "gpt2" { 1 } else { draw(1, 8) };
    let kv_heads = draw(1, 9 / group);
    let head_dim = 2 * draw(4, 64);
    // The positions of many heads are as many as a batch has rows, or more.
    let (family, kv_heads, heads, head_dim, positions) = match heads {
        Some(heads) => ("llama", 1, heads, 16, 200),
        None => (family, kv_heads, group * kv_heads, head_dim, 40),
    };
    let (hidden, intermediate, vocab) = (draw(3, 75), draw(3, 99), draw(5, 70));
    let (h, m, t, n) = (draw(0, 3), draw(1, 4), draw(0, 3), draw(1, 5));
    let scope = ["all", "middle"][draw(0, 1)];
    let index = ["effective_layer", "cycle"][draw(0, 1)];
    let reduce = ["mean", "max", "min", "first", "last"][draw(0, 4)];
    let kv = ["propagate", "share"][draw(0, 1)];
    let pool_heads = [1, kv_heads, heads][draw(0, 2)];
    let (with_pool, with_value) = (draw(0, 9) > 0, draw(0, 1) == 1);
    let (tied, window) = (draw(0, 1) == 1, draw(1, 20));
    let min_cycles = draw(1, 2);
    let layers = h + m + t;
    let ztt = json!({
        "head_layers": h, "tail_layers": t, "cycles": n,
        "zero_token_scope": scope, "zero_token_index": index,
        "exit": {"min_cycles": min_cycles, "reduce": reduce, "kv": kv},
    });
    let config = match family {
        "gpt2" => json!({
            "model_type": "ztt", "base_model_type": family, "n_embd": hidden, "n_layer": layers,
            "n_head": heads, "head_dim": head_dim, "n_inner": intermediate, "vocab_size": vocab,
            "n_positions": 40, "tie_word_embeddings": tied, "ztt": ztt,
        }),
        _ => json!({
            "model_type": "ztt", "base_model_type": family, "hidden_size": hidden,
            "num_hidden_layers": layers, "num_attention_heads": heads,
            "num_key_value_heads": kv_heads, "head_dim": head_dim,
            "intermediate_size": intermediate, "vocab_size": vocab,
            "max_position_embeddings": positions, "tie_word_embeddings": tied,
            "sliding_window": window, "use_sliding_window": true, "max_window_layers": h,
            "ztt": ztt,
        }),
    };
    std::fs::write(folder.join("config.json"), config.to_string())?;

    let mut tensors = Tensors {
        random,
        made: Vec::new(),
    };
    let (q, kv) = (heads * head_dim, kv_heads * head_dim);
    let gpt2 = family == "gpt2";
    let prefix = if gpt2 { "transformer." } else { "model." };
    let embedding = if gpt2 { "wte" } else { "embed_tokens" };
    tensors.matrix(&format!("{prefix}{embedding}"), vocab, hidden, false);
    if !tied {
        tensors.matrix("lm_head", vocab, hidden, false);
    }
    if gpt2 {
        tensors.matrix("transformer.wpe", 40, hidden, false);
        tensors.norm("transformer.ln_f", hidden, true);
        for i in 0..layers {
            let layer = format!("transformer.h.{i}");
            tensors.norm(&format!("{layer}.ln_1"), hidden, true);
            tensors.norm(&format!("{layer}.ln_2"), hidden, true);
            // Stored [in, out].
            for (name, n_in, n_out) in [
                ("attn.c_attn", hidden, 3 * q),
                ("attn.c_proj", q, hidden),
                ("mlp.c_fc", hidden, intermediate),
                ("mlp.c_proj", intermediate, hidden),
            ] {
                tensors.matrix(&format!("{layer}.{name}"), n_in, n_out, false);
                tensors.bias(&format!("{layer}.{name}"), n_out);
            }
        }
    } else {
        tensors.norm("model.norm", hidden, false);
        for i in 0..layers {
            let layer = format!("model.layers.{i}");
            tensors.norm(&format!("{layer}.input_layernorm"), hidden, false);
            tensors.norm(&format!("{layer}.post_attention_layernorm"), hidden, false);
            if family == "qwen3" {
                tensors.norm(&format!("{layer}.self_attn.q_norm"), head_dim, false);
                tensors.norm(&format!("{layer}.self_attn.k_norm"), head_dim, false);
            }
            for (name, n_out) in [("q", q), ("k", kv), ("v", kv)] {
                let name = format!("{layer}.self_attn.{name}_proj");
                tensors.matrix(&name, n_out, hidden, family == "qwen2");
            }
            tensors.matrix(&format!("{layer}.self_attn.o_proj"), hidden, q, false);
            for name in ["gate", "up"] {
                tensors.matrix(
                    &format!("{layer}.mlp.{name}_proj"),
                    intermediate,
                    hidden,
                    false,
                );
            }
            tensors.matrix(
                &format!("{layer}.mlp.down_proj"),
                hidden,
                intermediate,
                false,
            );
        }
    }
    if with_pool {
        let rows = match (index, scope) {
            ("cycle", _) => n,
            (_, "middle") => n * m,
            _ => h + n * m + t,
        };
        let shape = vec![rows, pool_heads, head_dim];
        tensors.add("zero_token_pool.key".to_string(), shape.clone(), 1.0, 0.0);
        if with_value {
            tensors.add("zero_token_pool.value".to_string(), shape, 1.0, 0.0);
        }
    }
    tensors.write(&folder.join("model.safetensors"))?;
    Ok(config)
}

/// Tensors of random values, each in a random type.
struct Tensors<'a> {
    random: &'a mut Random,
    made: Vec<(String, Dtype, Vec<usize>, Vec<u8>)>,
}

impl Tensors<'_> {
    fn add(&mut self, name: String, shape: Vec<usize>, spread: f32, mean: f32) {
        let dtype = [Dtype::F32, Dtype::F16, Dtype::BF16][self.random.below(3)];
        let n = shape.iter().product();
        let values = self
            .random
            .normals(n)
            .into_iter()
            .map(|v| mean + spread * v);
        let bytes = match dtype {
            Dtype::F32 => values.flat_map(f32::to_le_bytes).collect(),
            Dtype::F16 => values
                .flat_map(|v| f16::from_f32(v).to_le_bytes())
                .collect(),
            _ => values
                .flat_map(|v| bf16::from_f32(v).to_le_bytes())
                .collect(),
        };
        self.made.push((name, dtype, shape, bytes));
    }

    fn matrix(&mut self, name: &str, rows: usize, cols: usize, bias: bool) {
        let spread = 1.5 / (cols as f32).sqrt();
        self.add(format!("{name}.weight"), vec![rows, cols], spread, 0.0);
        if bias {
            self.bias(name, rows);
        }
    }

    fn bias(&mut self, name: &str, n: usize) {
        self.add(format!("{name}.bias"), vec![n], 0.3, 0.0);
    }

    fn norm(&mut self, name: &str, n: usize, bias: bool) {
        self.add(format!("{name}.weight"), vec![n], 0.2, 1.0);
        if bias {
            self.bias(name, n);
        }
    }

    fn write(&self, file: &Path) -> Result<()> {
        let views: Result<Vec<_>, _> = self
            .made
            .iter()
            .map(|(name, dtype, shape, bytes)| {
                Ok((name, TensorView::new(*dtype, shape.clone(), bytes)?))
            })
            .collect::<Result<_, safetensors::SafeTensorError>>();
        std::fs::write(file, safetensors::serialize(views?, None)?)?;
        Ok(())
    }
}
