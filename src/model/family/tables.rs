//! The tables of the families.

use super::{
    Bias, ConfigDefaults, ConfigKeys, Family, LoopKeys, NormKind, PositionKind, RoleNames,
    TensorNames, Window,
};
use crate::model::block::{Activation, BranchNorms, PostNorm, QkNorm, QkSpan};
use crate::model::role::Role;

const LLAMA_NAMES: RoleNames = &[
    (Role::Embedding, &["{}embed_tokens"]),
    (Role::FinalNorm, &["{}norm"]),
    (Role::LmHead, &["lm_head"]),
    (Role::AttnNorm, &["input_layernorm"]),
    (
        Role::Qkv,
        &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    ),
    (Role::OProj, &["self_attn.o_proj"]),
    (Role::MlpNorm, &["post_attention_layernorm"]),
    (Role::MlpIn, &["mlp.gate_proj", "mlp.up_proj"]),
    (Role::MlpOut, &["mlp.down_proj"]),
];

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
        head_dim: &["head_dim"],
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
    norms: BranchNorms::PRE,
    qk_norm: None,
    loops: None,
    gated: true,
    activations: &[("silu", Activation::Silu), ("swish", Activation::Silu)],
    tensors: TensorNames {
        prefixes: &["model.", ""],
        layer: "{}layers.{i}.",
        names: &[LLAMA_NAMES],
        ignored: &["self_attn.rotary_emb.inv_freq"],
    },
    biases: &[
        (Role::Qkv, Bias::Flag("attention_bias")),
        (Role::OProj, Bias::Flag("attention_bias")),
        (Role::MlpIn, Bias::Flag("mlp_bias")),
        (Role::MlpOut, Bias::Flag("mlp_bias")),
    ],
    window: Window::Never,
    transposed: false,
    fixed: &[],
    refused: &[],
};

const MISTRAL: Family = Family {
    name: "mistral",
    defaults: ConfigDefaults {
        positions: 131_072,
        kv_heads: Some(8),
        sliding_window: Some(4096),
        ..LLAMA.defaults
    },
    biases: &[],
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
    biases: &[(Role::Qkv, Bias::Always)],
    window: Window::Some,
    ..MISTRAL
};

const QWEN3_NAMES: RoleNames = &[
    (Role::QNorm, &["self_attn.q_norm"]),
    (Role::KNorm, &["self_attn.k_norm"]),
];

const QWEN3: Family = Family {
    name: "qwen3",
    defaults: ConfigDefaults {
        head_dim: Some(128),
        ..QWEN2.defaults
    },
    qk_norm: Some(QkNorm {
        span: QkSpan::Head,
        after_rope: false,
    }),
    tensors: TensorNames {
        names: &[QWEN3_NAMES, LLAMA_NAMES],
        ..LLAMA.tensors
    },
    biases: &[
        (Role::Qkv, Bias::Flag("attention_bias")),
        (Role::OProj, Bias::Flag("attention_bias")),
    ],
    ..QWEN2
};

const OURO_NAMES: RoleNames = &[
    (Role::ExitGate, &["{}early_exit_gate"]),
    (Role::AttnPostNorm, &["input_layernorm_2"]),
    (Role::MlpPostNorm, &["post_attention_layernorm_2"]),
];

const OURO: Family = Family {
    name: "ouro",
    defaults: ConfigDefaults {
        positions: 32_768,
        sliding_window: Some(4096),
        max_window_layers: 28,
        ..LLAMA.defaults
    },
    norms: BranchNorms {
        pre: true,
        post: PostNorm::OnBranch,
    },
    loops: Some(LoopKeys {
        cycles: "total_ut_steps",
        default_cycles: 4,
        weights: None,
        last_cycle: Some("early_exit_step"),
        skip_norm: None,
        gate_threshold: Some("early_exit_threshold"),
        plain: None,
    }),
    tensors: TensorNames {
        names: &[OURO_NAMES, LLAMA_NAMES],
        ..LLAMA.tensors
    },
    biases: &[(Role::ExitGate, Bias::Always)],
    window: Window::Some,
    ..LLAMA
};

const NANBEIGE: Family = Family {
    name: "nanbeige",
    keys: ConfigKeys {
        head_dim: &["head_dim", "kv_channels"],
        ..LLAMA.keys
    },
    loops: Some(LoopKeys {
        cycles: "num_loops",
        default_cycles: 2,
        weights: Some("loop_loss_weights"),
        last_cycle: None,
        skip_norm: Some("skip_loop_final_norm"),
        gate_threshold: None,
        plain: Some("llama"),
    }),
    refused: &[
        "enable_double_loop_split",
        "loop_share_kv",
        "enable_depth_attention",
        "enable_hyper_connection",
        "enable_mhc",
        "qk_layernorm",
        "emb_neighbor_num",
        "insert_ngram_layer_idx",
        "loop_middle_layers",
    ],
    ..LLAMA
};

const GPT2_NAMES: RoleNames = &[
    (Role::Embedding, &["{}wte"]),
    (Role::Positions, &["{}wpe"]),
    (Role::FinalNorm, &["{}ln_f"]),
    (Role::LmHead, &["lm_head"]),
    (Role::AttnNorm, &["ln_1"]),
    (Role::Qkv, &["attn.c_attn"]),
    (Role::OProj, &["attn.c_proj"]),
    (Role::MlpNorm, &["ln_2"]),
    (Role::MlpIn, &["mlp.c_fc"]),
    (Role::MlpOut, &["mlp.c_proj"]),
];

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
        head_dim: &["head_dim"],
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
    norms: BranchNorms::PRE,
    qk_norm: None,
    loops: None,
    gated: false,
    activations: &[
        ("gelu_new", Activation::GeluTanh),
        ("gelu_pytorch_tanh", Activation::GeluTanh),
    ],
    tensors: TensorNames {
        prefixes: &["transformer.", ""],
        layer: "{}h.{i}.",
        names: &[GPT2_NAMES],
        ignored: &["attn.bias", "attn.masked_bias"],
    },
    biases: &[
        (Role::Qkv, Bias::Always),
        (Role::OProj, Bias::Always),
        (Role::MlpIn, Bias::Always),
        (Role::MlpOut, Bias::Always),
    ],
    window: Window::Never,
    transposed: true,
    fixed: &[
        ("scale_attn_weights", "true"),
        ("scale_attn_by_inverse_layer_idx", "false"),
        ("add_cross_attention", "false"),
    ],
    refused: &[],
};

/// Every family the engine runs.
pub static FAMILIES: &[Family] = &[LLAMA, MISTRAL, QWEN2, QWEN3, OURO, NANBEIGE, GPT2];
