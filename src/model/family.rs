//! The model families: one table each of config keys, tensor names and block parts.
//! Adding a family means adding a table.

/// Where a family's `config.json` keeps its numbers.
pub struct ConfigKeys {
    pub hidden: &'static str,
    pub layers: &'static str,
    pub heads: &'static str,
    pub kv_heads: Option<&'static str>,
    pub intermediate: &'static str,
    pub positions: &'static str,
    pub norm_eps: &'static str,
    pub activation: &'static str,
    /// The config's flag that gives the attention's projections biases, where there is one.
    pub attention_bias: Option<&'static str>,
    /// The same for the MLP.
    pub mlp_bias: Option<&'static str>,
}

/// What the config leaves out.
pub struct ConfigDefaults {
    pub norm_eps: f64,
    pub positions: usize,
    pub activation: &'static str,
    pub tied: bool,
    pub bias: bool,
}

/// The normalisation before attention and MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// `x / sqrt(mean(x²) + eps) * weight`
    Rms,
    /// `(x - mean) / sqrt(variance + eps) * weight + bias`
    Layer,
}

/// How a position enters the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PositionKind {
    /// Rotary embedding of queries and keys, the two halves of a head paired.
    Rope,
    /// A learned vector a position, added to the token's embedding.
    Learned,
}

/// The MLP's non-linearity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `silu(gate) * up`, the gate and the value each a projection of their own.
    SwiGlu,
    /// GELU in its tanh form: `x/2 (1 + tanh(sqrt(2/π) (x + 0.044715 x³)))`.
    GeluTanh,
}

/// Tensor names. `{}` stands for the prefix, `{i}` for the parameter layer.
pub struct TensorNames {
    /// Prefixes met in the wild, tried in this order.
    pub prefixes: &'static [&'static str],
    pub embedding: &'static str,
    pub positions: Option<&'static str>,
    pub attn_norm: &'static str,
    /// Stacked along the outputs they are `q`, `k`, `v`.
    pub qkv: &'static [&'static str],
    pub o_proj: &'static str,
    pub mlp_norm: &'static str,
    /// Stacked along the outputs they are `gate`, `up`; or one projection without a gate.
    pub mlp_in: &'static [&'static str],
    pub mlp_out: &'static str,
    pub final_norm: &'static str,
    pub lm_head: &'static str,
    /// Tensors that public checkpoints carry and no forward pass needs.
    pub ignored: &'static [&'static str],
}

/// A model family.
pub struct Family {
    /// The `model_type` (or `base_model_type`) in `config.json`.
    pub name: &'static str,
    pub keys: ConfigKeys,
    pub defaults: ConfigDefaults,
    pub norm: NormKind,
    pub position: PositionKind,
    /// The activations understood, by the name in the config.
    pub activations: &'static [(&'static str, Activation)],
    pub tensors: TensorNames,
    /// Linear weights are stored `[in, out]` instead of `[out, in]`.
    pub transposed: bool,
    /// Config fields whose other values change the forward pass in ways not supported:
    /// the field, and the one value (as JSON) that it may have besides being absent.
    pub fixed: &'static [(&'static str, &'static str)],
}

/// Every family the engine runs.
pub static FAMILIES: &[Family] = &[
    Family {
        name: "llama",
        keys: ConfigKeys {
            hidden: "hidden_size",
            layers: "num_hidden_layers",
            heads: "num_attention_heads",
            kv_heads: Some("num_key_value_heads"),
            intermediate: "intermediate_size",
            positions: "max_position_embeddings",
            norm_eps: "rms_norm_eps",
            activation: "hidden_act",
            attention_bias: Some("attention_bias"),
            mlp_bias: Some("mlp_bias"),
        },
        defaults: ConfigDefaults {
            norm_eps: 1e-6,
            positions: 2048,
            activation: "silu",
            tied: false,
            bias: false,
        },
        norm: NormKind::Rms,
        position: PositionKind::Rope,
        activations: &[("silu", Activation::SwiGlu), ("swish", Activation::SwiGlu)],
        tensors: TensorNames {
            prefixes: &["model.", ""],
            embedding: "{}embed_tokens",
            positions: None,
            attn_norm: "{}layers.{i}.input_layernorm",
            qkv: &[
                "{}layers.{i}.self_attn.q_proj",
                "{}layers.{i}.self_attn.k_proj",
                "{}layers.{i}.self_attn.v_proj",
            ],
            o_proj: "{}layers.{i}.self_attn.o_proj",
            mlp_norm: "{}layers.{i}.post_attention_layernorm",
            mlp_in: &["{}layers.{i}.mlp.gate_proj", "{}layers.{i}.mlp.up_proj"],
            mlp_out: "{}layers.{i}.mlp.down_proj",
            final_norm: "{}norm",
            lm_head: "lm_head",
            ignored: &["self_attn.rotary_emb.inv_freq"],
        },
        transposed: false,
        fixed: &[("rope_scaling", "null")],
    },
    Family {
        name: "gpt2",
        keys: ConfigKeys {
            hidden: "n_embd",
            layers: "n_layer",
            heads: "n_head",
            kv_heads: None,
            intermediate: "n_inner",
            positions: "n_positions",
            norm_eps: "layer_norm_epsilon",
            activation: "activation_function",
            attention_bias: None,
            mlp_bias: None,
        },
        defaults: ConfigDefaults {
            norm_eps: 1e-5,
            positions: 1024,
            activation: "gelu_new",
            tied: true,
            bias: true,
        },
        norm: NormKind::Layer,
        position: PositionKind::Learned,
        activations: &[
            ("gelu_new", Activation::GeluTanh),
            ("gelu_pytorch_tanh", Activation::GeluTanh),
        ],
        tensors: TensorNames {
            prefixes: &["transformer.", ""],
            embedding: "{}wte",
            positions: Some("{}wpe"),
            attn_norm: "{}h.{i}.ln_1",
            qkv: &["{}h.{i}.attn.c_attn"],
            o_proj: "{}h.{i}.attn.c_proj",
            mlp_norm: "{}h.{i}.ln_2",
            mlp_in: &["{}h.{i}.mlp.c_fc"],
            mlp_out: "{}h.{i}.mlp.c_proj",
            final_norm: "{}ln_f",
            lm_head: "lm_head",
            ignored: &["attn.bias", "attn.masked_bias"],
        },
        transposed: true,
        fixed: &[
            ("scale_attn_weights", "true"),
            ("scale_attn_by_inverse_layer_idx", "false"),
            ("add_cross_attention", "false"),
        ],
    },
];

impl Family {
    /// The family of that name.
    pub fn named(name: &str) -> Option<&'static Family> {
        FAMILIES.iter().find(|f| f.name == name)
    }

    /// The names of all families, for a message.
    pub fn known() -> String {
        let names: Vec<_> = FAMILIES.iter().map(|f| format!("`{}`", f.name)).collect();
        names.join(", ")
    }
}

impl std::fmt::Debug for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Family({})", self.name)
    }
}
