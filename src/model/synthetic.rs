//! Models of random weights, for measuring without a file: the shapes of public LLaMAs, plain
//! or with some layers cycled.

use std::borrow::Cow;
use std::collections::HashMap;

use safetensors::View;
use safetensors::tensor::Dtype as StoredDtype;
use serde_json::json;

use super::config::Config;
use super::role::Role;
use super::shape::Shape;
use super::{Model, tensor};
use crate::error::{Error, Result, first_line};

/// The shape of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    pub name: &'static str,
    pub hidden: usize,
    pub intermediate: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub vocab: usize,
}

/// The presets. All tie the output projection to the embedding, and hold positions up to
/// [`POSITIONS`].
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "tiny",
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
        hidden: 3072,
        intermediate: 8192,
        layers: 28,
        heads: 24,
        kv_heads: 8,
        head_dim: 128,
        vocab: 128_256,
    },
];

/// Positions of every synthetic model.
pub const POSITIONS: usize = 8192;

/// Which layers of a synthetic model are cycled; the others are head and tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cycled {
    pub head: usize,
    pub tail: usize,
    pub cycles: usize,
}

impl Model {
    /// A model of `preset`'s shape with random f16 weights, always the same ones. Values have
    /// the size that keeps activations near 1: `1 / sqrt(inputs)`.
    ///
    /// The zero tokens of the first cycle have random keys, those of later cycles the key zero. So
    /// scores are spread out after the first cycle and near `1 / positions` after the others: a
    /// threshold chooses how many positions exit after the first cycle, and the others run all
    /// cycles.
    ///
    /// # Errors
    /// [`Error::Field`] when `cycled` leaves no layer to cycle.
    pub fn synthetic(preset: &Preset, cycled: Option<Cycled>) -> Result<Self> {
        let name = model_name(preset, cycled);
        let text = config(preset, cycled).to_string();
        // Before gigabytes are made, the config is checked.
        let config = Config::parse(&name, &text)?;
        let metadata = HashMap::from([("config.json".to_string(), text)]);
        let bytes = safetensors::serialize(tensors(&config), Some(metadata))
            .map_err(|e| Error::file(&name, "weights that fit in memory", first_line(e)))?;
        Self::from_bytes(&name, bytes)
    }
}

/// The name of a synthetic model.
pub(super) fn model_name(preset: &Preset, cycled: Option<Cycled>) -> String {
    match cycled {
        None => format!("synthetic {}", preset.name),
        Some(c) => format!(
            "synthetic {} {}+{}x{}+{}",
            preset.name,
            c.head,
            preset.layers.saturating_sub(c.head.saturating_add(c.tail)),
            c.cycles,
            c.tail
        ),
    }
}

pub(super) fn config(p: &Preset, cycled: Option<Cycled>) -> serde_json::Value {
    let mut config = json!({
        "model_type": "llama",
        "hidden_size": p.hidden,
        "intermediate_size": p.intermediate,
        "num_hidden_layers": p.layers,
        "num_attention_heads": p.heads,
        "num_key_value_heads": p.kv_heads,
        "head_dim": p.head_dim,
        "vocab_size": p.vocab,
        "max_position_embeddings": POSITIONS,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": true,
    });
    if let Some(c) = cycled {
        config["model_type"] = "ztt".into();
        config["base_model_type"] = "llama".into();
        config["ztt"] = json!({"head_layers": c.head, "tail_layers": c.tail, "cycles": c.cycles});
    }
    config
}

/// A tensor whose values are made when they are asked for.
pub(super) struct Values {
    /// `None` of the zero-token pool.
    pub(super) role: Option<Role>,
    shape: Vec<usize>,
    seed: u64,
    kind: Kind,
    /// Rows of the first dimension from here on are zero.
    zero_from: usize,
}

#[derive(Clone, Copy)]
enum Kind {
    Ones,
    /// Between `2^e` and `2^(e+1)` in size, the sign at random.
    Random {
        exponent: i32,
    },
}

/// The tensors of a model of this config, by their names.
pub(super) fn tensors(c: &Config) -> Vec<(String, Values)> {
    let mut list: Vec<(String, Values)> = Vec::new();
    // Half of 1 / sqrt(inputs), to the next power of two: values lie between that and the double.
    let scaled = |n_in: usize| Kind::Random {
        exponent: (-(n_in as f64).log2() / 2.0).round() as i32 - 1,
    };
    let outer = c.outer_roles().map(|role| (role, 0));
    let layers = c.blocks.iter().enumerate();
    let layers = layers.flat_map(|(i, block)| Role::of_block(block).map(move |role| (role, i)));
    for (role, layer) in outer.chain(layers) {
        let names = &c.family.tensors;
        let names = names.of(role, names.prefixes[0], layer);
        let Shape { outputs, n_in } = c.shape(role, layer);
        for (i, name) in names.into_iter().enumerate() {
            let (shape, kind) = match role.is_norm() {
                true => (vec![n_in], Kind::Ones),
                false => (vec![outputs[i], n_in], scaled(n_in)),
            };
            let values = Values {
                role: Some(role),
                shape,
                seed: list.len() as u64,
                kind,
                zero_from: usize::MAX,
            };
            list.push((format!("{name}.weight"), values));
        }
    }
    if c.pool.is_some() {
        let (head, middle) = (c.head_layers(), c.middle_layers());
        let rows = head + c.cycles() * middle + c.tail_layers();
        let pool = Values {
            role: None,
            shape: vec![rows, c.n_kv_heads, c.head_dim],
            seed: list.len() as u64,
            kind: Kind::Random { exponent: -1 },
            zero_from: head + middle,
        };
        list.push((super::weights::POOL_KEY.to_string(), pool));
    }
    list
}

impl View for Values {
    fn dtype(&self) -> StoredDtype {
        StoredDtype::F16
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data_len(&self) -> usize {
        tensor::Dtype::F16.n_bytes(self.shape.iter().product())
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let n = self.data_len();
        let mut bytes = Vec::with_capacity(n.next_multiple_of(8));
        match self.kind {
            Kind::Ones => {
                let one = half::f16::ONE.to_le_bytes();
                (0..n / 2).for_each(|_| bytes.extend(one));
            }
            Kind::Random { exponent } => {
                // Sign and fraction at random, the exponent fixed: four halves of 64 random bits.
                let exponent = ((exponent + 15).clamp(1, 30) as u64) << 10;
                let exponents = exponent * 0x0001_0001_0001_0001;
                let mut state = self.seed.wrapping_mul(0x2545_f491_4f6c_dd1d);
                while bytes.len() < n {
                    // SplitMix64 (Steele, Lea and Flood, 2014).
                    state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                    let mut z = state;
                    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                    z ^= z >> 31;
                    let halves = z & 0x83ff_83ff_83ff_83ff | exponents;
                    bytes.extend(halves.to_le_bytes());
                }
                bytes.truncate(n);
            }
        }
        let row_bytes = n / self.shape[0];
        let zeros = self.zero_from.saturating_mul(row_bytes).min(n);
        bytes[zeros..].fill(0);
        Cow::Owned(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_size_and_both_signs() {
        let values = Values {
            role: None,
            shape: vec![8, 9],
            seed: 3,
            kind: Kind::Random { exponent: -4 },
            zero_from: 7,
        };
        let bytes = values.data();
        assert_eq!(bytes.len(), 144);
        assert!(bytes[126..].iter().all(|&b| b == 0));
        let values: Vec<f32> = bytes[..126]
            .chunks_exact(2)
            .map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32())
            .collect();
        assert!(values.iter().all(|v| (0.0625..0.125).contains(&v.abs())));
        let negative = values.iter().filter(|v| **v < 0.0).count();
        assert!((16..48).contains(&negative), "{negative} of 63");
    }

    #[test]
    fn too_many_head_layers_are_refused() {
        let cycled = Cycled {
            head: 9,
            tail: 1,
            cycles: 2,
        };
        let refused = Model::synthetic(&PRESETS[0], Some(cycled)).err();
        assert!(refused.unwrap().to_string().contains("tail_layers"));
    }
}
