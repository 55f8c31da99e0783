//! A random model: any combination of what blocks, walks and pools can be.

use std::collections::{BTreeMap, HashMap};

use anyhow::Result;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;
use ztt_wgpu::model::Model;
use ztt_wgpu::model::block::{
    Activation, Attention, Block, BranchNorms, Mlp, PostNorm, QkNorm, QkSpan,
};
use ztt_wgpu::model::config::{Config, Rope};
use ztt_wgpu::model::family::{Family, NormKind, RoleNames, TensorNames};
use ztt_wgpu::model::role::Role;
use ztt_wgpu::model::shape::Shape;

use super::{between, flip, one_of};
use crate::random::Random;

/// Positions that a model is made for.
const POSITIONS: usize = 128;

/// Query heads and key heads.
const HEADS: &[(usize, usize)] = &[
    (2, 1),
    (2, 2),
    (3, 1),
    (3, 3),
    (4, 1),
    (4, 2),
    (5, 1),
    (6, 2),
    (6, 3),
    (6, 6),
];

/// Names of what a llama has not.
const NAMES: RoleNames = &[
    (Role::QNorm, &["q_norm"]),
    (Role::KNorm, &["k_norm"]),
    (Role::AttnPostNorm, &["attn_post_norm"]),
    (Role::MlpPostNorm, &["mlp_post_norm"]),
];

/// The names of an MLP without a gate.
pub const PLAIN_MLP: RoleNames = &[(Role::MlpIn, &["mlp.up_proj"])];

/// Shapes and values.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The model that these random numbers make.
pub fn draw(random: &mut Random) -> Result<Model> {
    let (heads, kv_heads) = one_of(random, HEADS);
    let head_dim = 2 * between(random, 2, 10);
    let (head, middle, tail) = (
        between(random, 0, 2),
        between(random, 1, 3),
        between(random, 0, 2),
    );
    let cycles = between(random, 1, 4);
    let scope = one_of(random, &["all", "middle"]);
    let index = one_of(random, &["effective_layer", "cycle"]);
    let text = json!({
        "model_type": "ztt", "base_model_type": "llama", "hidden_size": between(random, 24, 48),
        "intermediate_size": between(random, 24, 60), "num_hidden_layers": head + middle + tail,
        "num_attention_heads": heads, "num_key_value_heads": kv_heads, "head_dim": head_dim,
        "vocab_size": between(random, 30, 70), "max_position_embeddings": POSITIONS,
        "tie_word_embeddings": flip(random),
        "ztt": {
            "head_layers": head, "tail_layers": tail, "cycles": cycles,
            "zero_token_scope": scope, "zero_token_index": index,
        },
    });
    let text = text.to_string();
    let base = Config::parse("config.json", &text)?;
    let mut config = base.clone();
    change(&mut config, random);
    let mut tensors = Tensors::new();
    add_tensors(&base, random, &mut tensors);
    add_tensors(&config, random, &mut tensors);
    if random.below(6) > 0 {
        let n_rows = match (index, scope) {
            ("cycle", _) => cycles,
            (_, "middle") => cycles * middle,
            _ => head + cycles * middle + tail,
        };
        let pool_heads = one_of(random, &[1, kv_heads, heads]);
        let shape = vec![n_rows, pool_heads, head_dim];
        let names = ["zero_token_pool.key", "zero_token_pool.value"];
        for name in &names[..between(random, 1, 2)] {
            let values = random.normals(shape.iter().product());
            tensors.insert(name.to_string(), (shape.clone(), values));
        }
    }
    model_of("walks", &tensors, text, config)
}

/// A model of these tensors whose file has the config `text`, and which is run by `config`.
pub fn model_of(name: &str, tensors: &Tensors, text: String, config: Config) -> Result<Model> {
    let mut views = Vec::new();
    for (name, (shape, values)) in tensors {
        let bytes = bytemuck::cast_slice(values);
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes)?;
        views.push((name.clone(), view));
    }
    let metadata = HashMap::from([("config.json".to_string(), text)]);
    let bytes = safetensors::serialize(views, Some(metadata))?;
    let mut model = Model::from_bytes(name, bytes)?;
    model.config = config;
    Ok(model)
}

/// Makes another of a config: what no family's file can say.
fn change(c: &mut Config, random: &mut Random) {
    let gated = flip(random);
    c.family = match gated {
        true => family(&[]),
        false => family(&[PLAIN_MLP]),
    };
    c.norm = one_of(random, &[NormKind::Rms, NormKind::Layer]);
    let linears = [Role::Qkv, Role::OProj, Role::MlpIn, Role::MlpOut];
    c.biases = linears.to_vec();
    c.biases.retain(|_| random.below(4) == 0);
    c.embedding_multiplier = one_of(random, &[1.0, 1.0, 3.0, 6.0]);
    c.logits_multiplier = one_of(random, &[1.0, 0.25, 2.0]);
    c.logits_soft_cap = one_of(random, &[None, None, Some(1.5)]);
    c.loops.norm = random.below(3) == 0;
    if flip(random) {
        c.ropes[0].rotary_dim = 2 * between(random, 1, c.head_dim / 2);
    }
    c.ropes.push(Rope {
        theta: 50.0,
        ..c.ropes[0]
    });
    // Not one a layer: a software adapter compiles the kernels of each for seconds.
    let kinds = [0, 1].map(|_| block(c.head_dim, gated, random));
    for block in &mut c.blocks {
        *block = kinds[random.below(kinds.len())].clone();
        block.attention.window = (random.below(3) == 0).then(|| between(random, 1, 20));
    }
}

/// A block whose results rounding errors change little: the residual stream stays small, and so do
/// the products of queries and keys.
fn block(head_dim: usize, gated: bool, random: &mut Random) -> Block {
    use Activation::{Gelu, GeluTanh, Relu, ReluSquared, Silu};
    let posts = [
        PostNorm::None,
        PostNorm::None,
        PostNorm::OnBranch,
        PostNorm::OnSum,
    ];
    let plain = 1.0 / (head_dim as f64).sqrt();
    let span = one_of(random, &[None, Some(QkSpan::Head), Some(QkSpan::Width)]);
    let qk_norm = span.map(|span| QkNorm {
        span,
        after_rope: flip(random),
    });
    let residual_multiplier = one_of(random, &[1.0, 1.0, 0.3, 1.7]);
    let (attention_post, mlp_post) = (one_of(random, &posts), one_of(random, &posts));
    let is_bounded = attention_post != PostNorm::None || residual_multiplier < 1.0;
    let without_pre = qk_norm.is_some() && is_bounded && flip(random);
    Block {
        attention: Attention {
            scale: one_of(random, &[plain, plain, 0.1, 0.4]),
            soft_cap: one_of(random, &[None, None, Some(0.8), Some(5.0)]),
            qk_norm,
            window: None,
            rope: one_of(random, &[None, Some(0), Some(0), Some(1)]),
        },
        attention_norms: BranchNorms {
            pre: !without_pre,
            post: attention_post,
        },
        mlp: Mlp {
            gated,
            activation: one_of(random, &[Silu, GeluTanh, Gelu, Relu, ReluSquared]),
        },
        mlp_norms: BranchNorms {
            pre: mlp_post == PostNorm::None || flip(random),
            post: mlp_post,
        },
        residual_multiplier,
    }
}

/// A llama with more names, `more` before its own.
pub fn family(more: &[RoleNames]) -> &'static Family {
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

/// Adds what is missing of the tensors that a config asks for.
pub fn add_tensors(c: &Config, random: &mut Random, tensors: &mut Tensors) {
    let mut add = |name: String, shape: Vec<usize>, mean: f32, spread: f32| {
        let n = shape.iter().product();
        let values = random.normals(n).into_iter().map(|v| mean + spread * v);
        let values: Vec<f32> = values.collect();
        tensors.entry(name).or_insert((shape, values));
    };
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
            if c.has_bias(role) {
                add(format!("{name}.bias"), vec![shape[0]], 0.0, 0.1);
            }
            add(format!("{name}.weight"), shape, mean, spread);
        }
    }
}
