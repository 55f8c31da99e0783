//! Models of random weights, for measuring without a file: the shapes of public LLaMAs, plain
//! or with some layers cycled, and of public looped models.

mod preset;

use std::borrow::Cow;
use std::collections::HashMap;

use safetensors::View;
use safetensors::tensor::Dtype as StoredDtype;
use serde_json::{Value, json};

use super::config::Config;
use super::role::Role;
use super::shape::Shape;
use super::{Model, tensor};
use crate::error::{Error, Result, first_line};
pub use preset::{POSITIONS, PRESETS, Preset};

/// The bias of a random gate, whose sigmoid is 0.27.
const GATE_BIAS: f32 = -1.0;

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
    /// A gate is likely to say 0.2 to 0.4 after every step. So scores are near 0.27, 0.47 and 0.61
    /// after the first three, each with a spread of its own: a threshold from 0.1 to 0.8 chooses
    /// the mean depth.
    ///
    /// # Errors
    /// [`Error::Field`] when `cycled` leaves no layer to cycle, [`Error::Option`] when the preset
    /// loops by itself.
    pub fn synthetic(preset: &Preset, cycled: Option<Cycled>) -> Result<Self> {
        let name = model_name(preset, cycled);
        let text = config(preset, cycled)?.to_string();
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

/// The `config.json` of a synthetic model.
pub(super) fn config(p: &Preset, cycled: Option<Cycled>) -> Result<Value> {
    let mut config = json!({
        "model_type": p.family,
        "hidden_size": p.hidden,
        "intermediate_size": p.intermediate,
        "num_hidden_layers": p.layers,
        "num_attention_heads": p.heads,
        "num_key_value_heads": p.kv_heads,
        "head_dim": p.head_dim,
        "vocab_size": p.vocab,
        "max_position_embeddings": POSITIONS,
    });
    if let Value::Object(settings) = p.settings() {
        for (field, value) in settings {
            config[field] = value;
        }
    }
    if let Some(c) = cycled {
        if p.is_looped() {
            return Err(Error::Option {
                option: "--stored-cycles",
                expected: "a preset that does not loop by itself".to_string(),
                found: format!("`{}`", p.name),
            });
        }
        config["model_type"] = "ztt".into();
        config["base_model_type"] = p.family.into();
        config["ztt"] = json!({"head_layers": c.head, "tail_layers": c.tail, "cycles": c.cycles});
    }
    Ok(config)
}

/// A tensor whose values are made when they are asked for.
pub(super) struct Values {
    /// `None` of the zero-token pool and of the gate.
    pub(super) role: Option<Role>,
    shape: Vec<usize>,
    seed: u64,
    kind: Kind,
    /// Rows of the first dimension from here on are zero.
    zero_from: usize,
}

#[derive(Clone, Copy)]
enum Kind {
    /// All the same.
    Constant(f32),
    /// Between `2^e` and `2^(e+1)` in size, the sign at random.
    Random { exponent: i32 },
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
        let tensors = &c.family.tensors;
        let names = tensors.of(role, tensors.prefixes[0], layer);
        let Shape { outputs, n_in } = c.shape(role, layer);
        for (i, name) in names.iter().enumerate() {
            let (shape, kind) = match role.is_norm() {
                true => (vec![n_in], Kind::Constant(1.0)),
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
        if role == Role::ExitGate {
            let bias = Values {
                role: Some(role),
                shape: vec![1],
                seed: 0,
                kind: Kind::Constant(GATE_BIAS),
                zero_from: usize::MAX,
            };
            list.push((format!("{}.bias", names[0]), bias));
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
            Kind::Constant(value) => {
                let value = half::f16::from_f32(value).to_le_bytes();
                (0..n / 2).for_each(|_| bytes.extend(value));
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

    fn preset(name: &str) -> &'static Preset {
        PRESETS.iter().find(|preset| preset.name == name).unwrap()
    }

    #[test]
    fn looped_presets_have_the_published_shapes() {
        // Ouro-1.4B with its gate; Nanbeige4.2-3B, a quarter of which is embedding and projection.
        for (name, n_parameters, n_cycles) in [
            ("ouro-1.4b", 1_434_652_673, 4),
            ("nanbeige-3b", 4_169_800_704, 2),
        ] {
            let model = Model::blank(preset(name), None, None).unwrap();
            assert_eq!(model.n_parameters(), n_parameters, "{name}");
            assert_eq!(model.config.cycles(), n_cycles, "{name}");
            assert!(!model.config.tied, "{name}");
        }
    }

    #[test]
    fn the_gate_of_a_synthetic_model_is_near_its_bias() {
        let text = config(preset("ouro-1.4b"), None).unwrap().to_string();
        let tensors = tensors(&Config::parse("config.json", &text).unwrap());
        let values = |name: &str| -> Vec<f32> {
            let (_, values) = tensors.iter().find(|(known, _)| known == name).unwrap();
            let bytes = values.data();
            let halves = bytes.chunks_exact(2);
            halves
                .map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32())
                .collect()
        };
        assert_eq!(values("model.early_exit_gate.bias"), [-1.0]);
        let weight = values("model.early_exit_gate.weight");
        assert_eq!(weight.len(), 2048);
        let square = weight.iter().map(|w| w * w).sum::<f32>();
        assert!((0.15..0.6).contains(&square), "{square}");
    }

    #[test]
    fn looped_presets_are_not_cycled_once_more() {
        let cycled = Cycled {
            head: 1,
            tail: 1,
            cycles: 2,
        };
        for name in ["ouro-1.4b", "nanbeige-3b"] {
            let refused = Model::blank(preset(name), Some(cycled), None).err();
            let refused = refused.unwrap().to_string();
            assert!(refused.contains("--stored-cycles"), "{refused}");
        }
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
