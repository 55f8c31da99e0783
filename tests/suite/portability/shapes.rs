//! Checkpoints of public models' shapes with a layer or two and without values: files of holes.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use ztt_wgpu::model::quant::Quant;

/// The tensor of the zero tokens' keys.
const POOL: &str = "zero_token_pool.key";

/// The shape of a model.
pub struct Shape {
    pub name: &'static str,
    pub model_type: &'static str,
    pub hidden: usize,
    pub intermediate: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub vocab: usize,
    pub tied: bool,
    pub layers: usize,
    pub cycles: Cycles,
}

/// Times that all layers run.
#[derive(Clone, Copy, PartialEq)]
pub enum Cycles {
    Once,
    /// As a Zero Token Transformer.
    Ztt(usize),
    /// The number that the config has in this field.
    Field(&'static str, usize),
}

pub const SHAPES: [Shape; 6] = [
    Shape {
        name: "SmolLM2-135M, a ZTT",
        model_type: "llama",
        hidden: 576,
        intermediate: 1536,
        heads: 9,
        kv_heads: 3,
        head_dim: 64,
        vocab: 49_152,
        tied: true,
        layers: 30,
        cycles: Cycles::Ztt(4),
    },
    Shape {
        name: "SmolLM2-135M",
        model_type: "llama",
        hidden: 576,
        intermediate: 1536,
        heads: 9,
        kv_heads: 3,
        head_dim: 64,
        vocab: 49_152,
        tied: true,
        layers: 30,
        cycles: Cycles::Once,
    },
    Shape {
        name: "Llama-3.2-1B",
        model_type: "llama",
        hidden: 2048,
        intermediate: 8192,
        heads: 32,
        kv_heads: 8,
        head_dim: 64,
        vocab: 128_256,
        tied: true,
        layers: 16,
        cycles: Cycles::Once,
    },
    Shape {
        name: "Qwen3-4B",
        model_type: "qwen3",
        hidden: 2560,
        intermediate: 9728,
        heads: 32,
        kv_heads: 8,
        head_dim: 128,
        vocab: 151_936,
        tied: true,
        layers: 36,
        cycles: Cycles::Once,
    },
    Shape {
        name: "Ouro-1.4B",
        model_type: "ouro",
        hidden: 2048,
        intermediate: 5632,
        heads: 16,
        kv_heads: 16,
        head_dim: 128,
        vocab: 49_152,
        tied: false,
        layers: 24,
        cycles: Cycles::Field("total_ut_steps", 4),
    },
    Shape {
        name: "Nanbeige4.2-3B",
        model_type: "nanbeige",
        hidden: 3072,
        intermediate: 10_752,
        heads: 48,
        kv_heads: 8,
        head_dim: 128,
        vocab: 166_144,
        tied: false,
        layers: 22,
        cycles: Cycles::Field("num_loops", 2),
    },
];

impl Shape {
    /// Writes `config.json` and `model.safetensors` of `layers` layers, with all matrices in f16 or
    /// in a quantised format.
    pub fn write(&self, folder: &Path, layers: usize, quant: Option<Quant>) -> Result<()> {
        let config = self.config(layers, quant);
        std::fs::write(folder.join("config.json"), config.to_string())?;
        let mut header = Map::new();
        let mut end = 0;
        for (name, shape) in self.tensors(layers) {
            // The one kind of matrix with an output for each token.
            let quant = match shape[0] == self.vocab {
                true => quant.map(|_| Quant::OF_EMBEDDING),
                false => quant,
            };
            // Gates are not quantised.
            let quant = quant.filter(|_| shape[0] > 1);
            let (dtype, shape, n_bytes) = stored(&shape, quant);
            let offsets = [end, end + n_bytes];
            end += n_bytes;
            let info = json!({"dtype": dtype, "shape": shape, "data_offsets": offsets});
            header.insert(name, info);
        }
        let header = Value::from(header).to_string();
        let mut file = File::create(folder.join("model.safetensors"))?;
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        let n_bytes = 8 + header.len() + end;
        // What is not written takes no room on the disk.
        file.set_len(n_bytes as u64)
            .context("no room for a file of holes")
    }

    fn config(&self, layers: usize, quant: Option<Quant>) -> Value {
        let mut config = json!({
            "model_type": self.model_type,
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "vocab_size": self.vocab,
            "max_position_embeddings": 32_768,
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": self.tied,
        });
        match self.cycles {
            Cycles::Once => {}
            Cycles::Ztt(cycles) => {
                config["model_type"] = "ztt".into();
                config["base_model_type"] = self.model_type.into();
                config["ztt"] = json!({"head_layers": 0, "tail_layers": 0, "cycles": cycles});
            }
            Cycles::Field(field, cycles) => config[field] = cycles.into(),
        }
        if let Some(quant) = quant {
            config["quantization_config"] = json!({"quant_method": quant.name()});
        }
        config
    }

    fn tensors(&self, layers: usize) -> Vec<(String, Vec<usize>)> {
        let Self { hidden, .. } = *self;
        let [q, kv] = [self.heads, self.kv_heads].map(|n| n * self.head_dim);
        let matrix = |name: &str, n_out: usize, n_in: usize| (name.to_string(), vec![n_out, n_in]);
        let mut all = vec![
            matrix("model.embed_tokens.weight", self.vocab, hidden),
            ("model.norm.weight".to_string(), vec![hidden]),
        ];
        if !self.tied {
            all.push(matrix("lm_head.weight", self.vocab, hidden));
        }
        for i in 0..layers {
            let mut of_layer = vec![
                ("input_layernorm", vec![hidden]),
                ("self_attn.q_proj", vec![q, hidden]),
                ("self_attn.k_proj", vec![kv, hidden]),
                ("self_attn.v_proj", vec![kv, hidden]),
                ("self_attn.o_proj", vec![hidden, q]),
                ("post_attention_layernorm", vec![hidden]),
                ("mlp.gate_proj", vec![self.intermediate, hidden]),
                ("mlp.up_proj", vec![self.intermediate, hidden]),
                ("mlp.down_proj", vec![hidden, self.intermediate]),
            ];
            if self.model_type == "qwen3" {
                of_layer.push(("self_attn.q_norm", vec![self.head_dim]));
                of_layer.push(("self_attn.k_norm", vec![self.head_dim]));
            }
            if self.model_type == "ouro" {
                of_layer.push(("input_layernorm_2", vec![hidden]));
                of_layer.push(("post_attention_layernorm_2", vec![hidden]));
            }
            let named = |(name, shape)| (format!("model.layers.{i}.{name}.weight"), shape);
            all.extend(of_layer.into_iter().map(named));
        }
        if self.model_type == "ouro" {
            all.push(matrix("model.early_exit_gate.weight", 1, hidden));
            all.push(("model.early_exit_gate.bias".to_string(), vec![1]));
        }
        if let Cycles::Ztt(cycles) = self.cycles {
            let pool = vec![cycles * layers, self.kv_heads, self.head_dim];
            all.push((POOL.to_string(), pool));
        }
        all
    }
}

/// Type, shape and bytes of a tensor as the checkpoint has it.
fn stored(shape: &[usize], quant: Option<Quant>) -> (&'static str, Vec<usize>, usize) {
    match (quant, shape) {
        (Some(quant), &[n_out, n_in]) => {
            let row_bytes = quant.n_bytes(n_in);
            ("U8", vec![n_out, row_bytes], n_out * row_bytes)
        }
        _ => ("F16", shape.to_vec(), 2 * shape.iter().product::<usize>()),
    }
}
