//! The shapes of synthetic models.

use serde_json::{Value, json};

/// The shape of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    pub name: &'static str,
    /// The `model_type` of its config.
    pub family: &'static str,
    pub hidden: usize,
    pub intermediate: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub vocab: usize,
}

/// The presets. Those of the family `llama` tie the output projection to the embedding. All hold
/// positions up to [`POSITIONS`].
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "tiny",
        family: "llama",
        hidden: 512,
        intermediate: 1408,
        layers: 10,
        heads: 8,
        kv_heads: 4,
        head_dim: 64,
        vocab: 1024,
    },
    // SmolLM2-135M
    Preset {
        name: "135m",
        family: "llama",
        hidden: 576,
        intermediate: 1536,
        layers: 30,
        heads: 9,
        kv_heads: 3,
        head_dim: 64,
        vocab: 49_152,
    },
    // Llama 3.2 1B
    Preset {
        name: "1b",
        family: "llama",
        hidden: 2048,
        intermediate: 8192,
        layers: 16,
        heads: 32,
        kv_heads: 8,
        head_dim: 64,
        vocab: 128_256,
    },
    // Llama 3.2 3B
    Preset {
        name: "3b",
        family: "llama",
        hidden: 3072,
        intermediate: 8192,
        layers: 28,
        heads: 24,
        kv_heads: 8,
        head_dim: 128,
        vocab: 128_256,
    },
    // Ouro-1.4B
    Preset {
        name: "ouro-1.4b",
        family: "ouro",
        hidden: 2048,
        intermediate: 5632,
        layers: 24,
        heads: 16,
        kv_heads: 16,
        head_dim: 128,
        vocab: 49_152,
    },
    // Nanbeige4.2-3B
    Preset {
        name: "nanbeige-3b",
        family: "nanbeige",
        hidden: 3072,
        intermediate: 10_752,
        layers: 22,
        heads: 48,
        kv_heads: 8,
        head_dim: 128,
        vocab: 166_144,
    },
];

/// Positions of every synthetic model.
pub const POSITIONS: usize = 8192;

impl Preset {
    /// Whether models of this shape run all their layers several times by themselves.
    pub fn is_looped(&self) -> bool {
        self.family != "llama"
    }

    /// What the config of this family says besides the shape.
    pub(super) fn settings(&self) -> Value {
        match self.family {
            "ouro" => json!({
                "total_ut_steps": 4,
                "early_exit_threshold": 1.0,
                "rms_norm_eps": 1e-6,
                "rope_theta": 1e6,
                "tie_word_embeddings": false,
            }),
            "nanbeige" => json!({
                "num_loops": 2,
                "skip_loop_final_norm": false,
                "rms_norm_eps": 1e-5,
                "rope_theta": 7e7,
                "tie_word_embeddings": false,
            }),
            _ => json!({"rms_norm_eps": 1e-5, "tie_word_embeddings": true}),
        }
    }
}
