//! Blocks that no family of today has: the adapter against the reference, on random weights.

use std::sync::Arc;

use anyhow::Result;
use libtest_mimic::Trial;
use serde_json::json;
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::model::block::{Activation, BranchNorms, PostNorm, QkNorm, QkSpan};
use ztt_wgpu::model::config::{Config, Rope};

use crate::adapter;
use crate::families::adapter_equals_reference;
use crate::random::Random;
use crate::walks::random_model::{PLAIN_MLP, Tensors, add_tensors, family, model_of};

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    let mut add = |name: &str, change: fn(&mut Config)| {
        let name = format!("blocks::{name}");
        trials.extend(adapter::trials_by_class(&name, move |gpu| {
            agree(change, gpu)
        }));
    };
    // As OLMo 2.
    add("norms_on_branches", |c| {
        set_norms(c, false, PostNorm::OnBranch);
        set_qk_norm(c, QkSpan::Width, false);
    });
    // As Gemma 2.
    add("norms_before_and_on_branches", |c| {
        set_norms(c, true, PostNorm::OnBranch);
        c.embedding_multiplier = 6.0;
        c.logits_soft_cap = Some(1.5);
        for (i, block) in c.blocks.iter_mut().enumerate() {
            block.attention.scale = 0.4;
            block.attention.soft_cap = Some(0.8);
            block.attention.window = (i % 2 == 0).then_some(5);
            block.mlp.activation = Activation::GeluTanh;
        }
    });
    add("norms_on_sums", |c| set_norms(c, false, PostNorm::OnSum));
    // As Granite.
    add("multipliers", |c| {
        c.embedding_multiplier = 3.0;
        c.logits_multiplier = 0.25;
        for block in &mut c.blocks {
            block.attention.scale = 0.1;
            block.residual_multiplier = 0.3;
        }
    });
    add("norms_and_multipliers", |c| {
        set_norms(c, true, PostNorm::OnSum);
        c.blocks[1].attention_norms.post = PostNorm::OnBranch;
        for block in &mut c.blocks {
            block.residual_multiplier = 1.7;
        }
    });
    // As HunYuan.
    add("heads_normed_after_rope", |c| {
        set_qk_norm(c, QkSpan::Head, true);
    });
    add("heads_normed_before_rope", |c| {
        set_qk_norm(c, QkSpan::Head, false);
        c.ropes[0].rotary_dim = 8;
    });
    add("widths_normed_after_rope", |c| {
        set_qk_norm(c, QkSpan::Width, true);
        c.blocks[2].attention.qk_norm = None;
    });
    add("a_part_of_each_head_turned", |c| {
        c.ropes[0].rotary_dim = 4;
    });
    // As SmolLM3, and as Gemma 3.
    add("ropes_by_layer", |c| {
        c.ropes.push(Rope {
            theta: 50.0,
            ..c.ropes[0]
        });
        c.blocks[1].attention.rope = Some(1);
        c.blocks[2].attention.rope = None;
    });
    add("activations_of_a_gate", set_activations);
    add("activations_without_a_gate", |c| {
        c.family = family(&[PLAIN_MLP]);
        set_activations(c);
        for block in &mut c.blocks {
            block.mlp.gated = false;
        }
    });
    trials
}

fn set_norms(c: &mut Config, pre: bool, post: PostNorm) {
    for block in &mut c.blocks {
        block.attention_norms = BranchNorms { pre, post };
        block.mlp_norms = BranchNorms { pre, post };
    }
}

fn set_qk_norm(c: &mut Config, span: QkSpan, after_rope: bool) {
    for block in &mut c.blocks {
        block.attention.qk_norm = Some(QkNorm { span, after_rope });
    }
}

fn set_activations(c: &mut Config) {
    let all = [
        Activation::Gelu,
        Activation::Relu,
        Activation::ReluSquared,
        Activation::GeluTanh,
    ];
    for (block, activation) in c.blocks.iter_mut().zip(all) {
        block.mlp.activation = activation;
    }
}

/// A Zero Token Transformer with its blocks changed.
fn agree(change: fn(&mut Config), gpu: Arc<Gpu>) -> Result<()> {
    let mut random = Random::new(11);
    let text = json!({
        "model_type": "ztt", "base_model_type": "llama", "hidden_size": 36,
        "intermediate_size": 52, "num_hidden_layers": 4, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 12, "vocab_size": 50,
        "max_position_embeddings": 64, "tie_word_embeddings": true,
        "ztt": {"head_layers": 1, "tail_layers": 1, "cycles": 2},
    });
    let text = text.to_string();
    let mut config = Config::parse("config.json", &text)?;
    let mut tensors = Tensors::new();
    add_tensors(&config, &mut random, &mut tensors);
    config.family = family(&[]);
    change(&mut config);
    add_tensors(&config, &mut random, &mut tensors);
    for name in ["zero_token_pool.key", "zero_token_pool.value"] {
        let shape = vec![6, config.n_kv_heads, config.head_dim];
        let values = random.normals(shape.iter().product());
        tensors.insert(name.to_string(), (shape, values));
    }
    let model = model_of("blocks", &tensors, text, config)?;
    adapter_equals_reference("", &model, gpu, &mut random)
}
