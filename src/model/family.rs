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
    /// Other names of some of these, as transformers maps them, each after the name it stands for.
    /// Where a config has both, the other name wins.
    pub aliases: &'static [(&'static str, &'static str)],
}

impl ConfigKeys {
    /// The keys as a config spells them; `has` says which fields it has.
    pub fn as_spelled(&self, has: impl Fn(&str) -> bool) -> Self {
        let spelled = |key: &'static str| {
            let mut aliases = self.aliases.iter();
            let found = aliases.find(|(name, alias)| *name == key && has(alias));
            found.map_or(key, |(_, alias)| alias)
        };
        Self {
            hidden: spelled(self.hidden),
            layers: spelled(self.layers),
            heads: spelled(self.heads),
            kv_heads: self.kv_heads.map(spelled),
            intermediate: spelled(self.intermediate),
            positions: spelled(self.positions),
            norm_eps: spelled(self.norm_eps),
            activation: spelled(self.activation),
            aliases: self.aliases,
        }
    }
}

/// The values of fields that a config leaves out.
pub struct ConfigDefaults {
    pub norm_eps: f64,
    pub positions: usize,
    pub tied: bool,
    /// KV heads where the config has no such field; `None` means as many as query heads.
    pub kv_heads: Option<usize>,
    /// Width of a head; `None` means hidden size over heads.
    pub head_dim: Option<usize>,
    pub sliding_window: Option<usize>,
    pub max_window_layers: usize,
}

/// Whether projections have a bias.
#[derive(Clone, Copy, Debug)]
pub enum Bias {
    Never,
    Always,
    /// A flag of the config says so; without it they have none.
    Flag(&'static str),
}

/// Which layers look back only a number of positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// No layer does.
    Never,
    /// All do, by `sliding_window`, unless that is null.
    All,
    /// With `use_sliding_window` those that `layer_types` names, or, without that field, those
    /// from `max_window_layers` on.
    Some,
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
    /// Norms of each query head and each key head, before the rotary embedding.
    pub qk_norm: Option<[&'static str; 2]>,
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
    pub qkv_bias: Bias,
    pub o_bias: Bias,
    pub mlp_bias: Bias,
    pub window: Window,
    /// Linear weights are stored `[in, out]` instead of `[out, in]`.
    pub transposed: bool,
    /// Config fields whose other values change the forward pass in ways not supported:
    /// the field, and the one value (as JSON) that it may have besides being absent.
    pub fixed: &'static [(&'static str, &'static str)],
}

const LLAMA: Family = Family {
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
        aliases: &[],
    },
    defaults: ConfigDefaults {
        norm_eps: 1e-6,
        positions: 2048,
        tied: false,
        kv_heads: None,
        head_dim: None,
        sliding_window: None,
        max_window_layers: 0,
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
        qk_norm: None,
        o_proj: "{}layers.{i}.self_attn.o_proj",
        mlp_norm: "{}layers.{i}.post_attention_layernorm",
        mlp_in: &["{}layers.{i}.mlp.gate_proj", "{}layers.{i}.mlp.up_proj"],
        mlp_out: "{}layers.{i}.mlp.down_proj",
        final_norm: "{}norm",
        lm_head: "lm_head",
        ignored: &["self_attn.rotary_emb.inv_freq"],
    },
    qkv_bias: Bias::Flag("attention_bias"),
    o_bias: Bias::Flag("attention_bias"),
    mlp_bias: Bias::Flag("mlp_bias"),
    window: Window::Never,
    transposed: false,
    fixed: &[],
};

const MISTRAL: Family = Family {
    name: "mistral",
    defaults: ConfigDefaults {
        positions: 131_072,
        kv_heads: Some(8),
        sliding_window: Some(4096),
        ..LLAMA.defaults
    },
    qkv_bias: Bias::Never,
    o_bias: Bias::Never,
    mlp_bias: Bias::Never,
    window: Window::All,
    ..LLAMA
};

const QWEN2: Family = Family {
    name: "qwen2",
    defaults: ConfigDefaults {
        positions: 32_768,
        kv_heads: Some(32),
        sliding_window: Some(4096),
        max_window_layers: 28,
        ..LLAMA.defaults
    },
    qkv_bias: Bias::Always,
    window: Window::Some,
    ..MISTRAL
};

const QWEN3: Family = Family {
    name: "qwen3",
    defaults: ConfigDefaults {
        head_dim: Some(128),
        ..QWEN2.defaults
    },
    tensors: TensorNames {
        qk_norm: Some([
            "{}layers.{i}.self_attn.q_norm",
            "{}layers.{i}.self_attn.k_norm",
        ]),
        ..LLAMA.tensors
    },
    qkv_bias: Bias::Flag("attention_bias"),
    o_bias: Bias::Flag("attention_bias"),
    ..QWEN2
};

const GPT2: Family = Family {
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
        aliases: &[
            ("n_embd", "hidden_size"),
            ("n_layer", "num_hidden_layers"),
            ("n_head", "num_attention_heads"),
            ("n_positions", "max_position_embeddings"),
        ],
    },
    defaults: ConfigDefaults {
        norm_eps: 1e-5,
        positions: 1024,
        tied: true,
        kv_heads: None,
        head_dim: None,
        sliding_window: None,
        max_window_layers: 0,
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
        qk_norm: None,
        o_proj: "{}h.{i}.attn.c_proj",
        mlp_norm: "{}h.{i}.ln_2",
        mlp_in: &["{}h.{i}.mlp.c_fc"],
        mlp_out: "{}h.{i}.mlp.c_proj",
        final_norm: "{}ln_f",
        lm_head: "lm_head",
        ignored: &["attn.bias", "attn.masked_bias"],
    },
    qkv_bias: Bias::Always,
    o_bias: Bias::Always,
    mlp_bias: Bias::Always,
    window: Window::Never,
    transposed: true,
    fixed: &[
        ("scale_attn_weights", "true"),
        ("scale_attn_by_inverse_layer_idx", "false"),
        ("add_cross_attention", "false"),
    ],
};

/// Every family the engine runs.
pub static FAMILIES: &[Family] = &[LLAMA, MISTRAL, QWEN2, QWEN3, GPT2];

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
