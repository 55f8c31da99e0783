//! Blocks that no family of today has: the adapter against the reference, on random weights.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use anyhow::Result;
use libtest_mimic::Trial;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::model::Model;
use ztt_wgpu::model::block::{Activation, BranchNorms, PostNorm, QkNorm, QkSpan};
use ztt_wgpu::model::config::{Config, Rope};
use ztt_wgpu::model::family::{Family, RoleNames, TensorNames};
use ztt_wgpu::model::role::Role;
use ztt_wgpu::model::shape::Shape;

use crate::adapter;
use crate::families::adapter_equals_reference;
use crate::random::Random;

/// Names of what a llama has not.
const NAMES: RoleNames = &[
    (Role::QNorm, &["q_norm"]),
    (Role::KNorm, &["k_norm"]),
    (Role::AttnPostNorm, &["attn_post_norm"]),
    (Role::MlpPostNorm, &["mlp_post_norm"]),
];

/// The names of an MLP without a gate.
const PLAIN_MLP: RoleNames = &[(Role::MlpIn, &["mlp.up_proj"])];

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

/// A llama with more names, `more` before its own.
fn family(more: &[RoleNames]) -> &'static Family {
    let llama = Family::named("llama").expect("a table");
    let mut names = more.to_vec();
    names.push(NAMES);
    names.extend(llama.tensors.names);
    Box::leak(Box::new(Family {
        tensors: TensorNames {
            names: names.leak(),
            ..llama.tensors
        },
        ..*llama
    }))
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
    let mut views = Vec::new();
    for (name, (shape, values)) in &tensors {
        let bytes = bytemuck::cast_slice(values);
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes)?;
        views.push((name.clone(), view));
    }
    let metadata = HashMap::from([("config.json".to_string(), text)]);
    let bytes = safetensors::serialize(views, Some(metadata))?;
    let mut model = Model::from_bytes("blocks", bytes)?;
    model.config = config;
    adapter_equals_reference("", &model, gpu, &mut random)
}

/// Shapes and values.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Adds what is missing of the tensors that a config asks for.
fn add_tensors(c: &Config, random: &mut Random, tensors: &mut Tensors) {
    let layers = c.blocks.iter().enumerate();
    let layers = layers.flat_map(|(i, block)| Role::of_block(block).map(move |role| (role, i)));
    for (role, layer) in c.outer_roles().map(|role| (role, 0)).chain(layers) {
        let Shape { outputs, n_in } = c.shape(role, layer);
        let names = c.family.tensors.of(role, "model.", layer);
        for (i, name) in names.iter().enumerate() {
            // Matrices keep the size of what they multiply; the weights of norms are near 1.
            let (shape, mean, spread) = match role.is_norm() {
                true => (vec![n_in], 1.0, 0.1),
                false => (vec![outputs[i], n_in], 0.0, 1.0 / (n_in as f32).sqrt()),
            };
            let n = shape.iter().product();
            let values = random.normals(n).into_iter().map(|v| mean + spread * v);
            let values: Vec<f32> = values.collect();
            let name = format!("{name}.weight");
            tensors.entry(name).or_insert((shape, values));
        }
    }
}
