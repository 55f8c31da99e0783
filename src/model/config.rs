//! `config.json`: the base family's shapes, and the `ztt` block.

use serde_json::Value;

use super::block::{Block, Mlp};
use super::block_config::{parse_biases, parse_blocks};
use super::family::{Family, NormKind, PositionKind};
use super::generation::token_ids;
use super::json::{Object, kind, parse_object};
use super::loops::{Loops, ScoreSource, most_cycles};
use super::quant::{QUANTS, Quant};
use super::role::Role;
use super::rope_config::parse_rope;
use super::sizes::MAX_LAYERS;
use super::ztt::parse_ztt;
use crate::error::Result;

pub use super::generation::GenerationConfig;
pub use super::rope_config::{Rope, RopeScaling};
pub use super::ztt::{
    ExitRule, KV_POLICIES, KvPolicy, PoolConfig, REDUCES, Reduce, ZeroTokenIndex, ZeroTokenScope,
};

/// The largest head the attention kernels hold in workgroup memory.
pub const MAX_HEAD_DIM: usize = 256;

/// The field that says whether the output projection is the embedding.
pub(super) const TIED: &str = "tie_word_embeddings";

/// The settings of `config.json`, in one vocabulary for all families.
#[derive(Clone, Debug)]
pub struct Config {
    pub family: &'static Family,
    /// Which layers run in cycles, and how often.
    pub loops: Loops,
    /// What makes the scores of cycles; `None`: they have none.
    pub score: Option<ScoreSource>,
    /// The exit rule that the file asks for.
    pub exit: ExitRule,
    /// How the zero-token pool of a ZTT is indexed, be there a pool or not; `None` for others.
    pub pool: Option<PoolConfig>,
    pub hidden: usize,
    pub intermediate: usize,
    /// Stored (parameter) layers `L`.
    pub n_layers: usize,
    pub n_heads: usize,
    pub n_kv_heads: usize,
    pub head_dim: usize,
    pub vocab: usize,
    /// Positions the model was made for.
    pub max_positions: usize,
    pub norm: NormKind,
    pub norm_eps: f64,
    pub position: PositionKind,
    /// The rotary embeddings that blocks choose from; none where positions are learned.
    pub ropes: Vec<Rope>,
    /// The block of each parameter layer.
    pub blocks: Vec<Block>,
    /// The linear maps that have a bias.
    pub biases: Vec<Role>,
    /// Multiplies tokens' embeddings, not learned positions.
    pub embedding_multiplier: f64,
    pub logits_multiplier: f64,
    /// `c tanh(logit / c)` of every logit, after the multiplier.
    pub logits_soft_cap: Option<f64>,
    /// The output projection is the embedding.
    pub tied: bool,
    pub bos: Option<u32>,
    pub eos: Vec<u32>,
    /// The format of stored matrices, of those that fit it.
    pub quant: Option<Quant>,
}

impl Config {
    /// `h`: layers before the cycled ones. All of them in a plain checkpoint.
    pub fn head_layers(&self) -> usize {
        self.loops.head_layers
    }

    /// `t`: layers after the cycled ones.
    pub fn tail_layers(&self) -> usize {
        self.loops.tail_layers
    }

    /// `m`: the cycled layers. None in a plain checkpoint.
    pub fn middle_layers(&self) -> usize {
        self.n_layers - self.head_layers() - self.tail_layers()
    }

    /// `N`: stored cycles.
    pub fn cycles(&self) -> usize {
        self.loops.cycles
    }

    /// The exit rule the file asks for.
    pub fn exit(&self) -> ExitRule {
        self.exit.clone()
    }

    /// The field for the threshold of the model's learned gate, where it has one.
    pub fn gate_threshold(&self) -> Option<&'static str> {
        let keys = self.family.loops.as_ref()?;
        keys.gate_threshold
    }

    /// The most cycles that the model can run: those it stores where a pool has rows for them.
    pub fn most_cycles(&self) -> usize {
        match self.score {
            Some(ScoreSource::ZeroAttention) => self.loops.cycles,
            Some(ScoreSource::Gate) | None if self.middle_layers() == 0 => 1,
            Some(ScoreSource::Gate) | None => {
                most_cycles(self.middle_layers()).max(self.loops.cycles)
            }
        }
    }

    /// Width of all query heads together.
    pub fn q_dim(&self) -> usize {
        self.n_heads * self.head_dim
    }

    /// Width of all key heads together, and of all value heads.
    pub fn kv_dim(&self) -> usize {
        self.n_kv_heads * self.head_dim
    }

    /// The leading values of a head that rotary embeddings turn, in pairs `(i, i + n / 2)`; 0
    /// without one. All of a model's turn as many: the device has one order of a head's values for
    /// all layers, which share the keys of the zero-token pool.
    pub fn rotary_dim(&self) -> usize {
        let n = self.ropes.first().map_or(0, |rope| rope.rotary_dim);
        assert!(
            self.ropes.iter().all(|rope| rope.rotary_dim == n),
            "rotary embeddings of several widths"
        );
        n
    }

    /// Reads `text`; `file` names it in errors.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let fields = parse_object(file, text)?;
        let json = Object::new(file, &fields);
        let model_type = json
            .text("model_type")?
            .ok_or_else(|| json.error("model_type", "a model family", "nothing"))?;
        let (field, name) = match model_type {
            "ztt" => {
                let base = json.text("base_model_type")?;
                ("base_model_type", base.unwrap_or("nothing"))
            }
            plain => ("model_type", plain),
        };
        let family = Family::named(name).ok_or_else(|| {
            let known = format!("one of {}", Family::known());
            json.error(field, &known, &format!("`{name}`"))
        })?;
        let block = json.object("ztt", "ztt")?;
        if model_type == "ztt" && block.is_none() {
            return Err(json.error("ztt", "an object", "nothing"));
        }
        if block.is_some() && family.loops.is_some() {
            let expected = "nothing beside a family with cycles of its own";
            return Err(json.error("ztt", expected, "an object"));
        }
        refuse_unsupported(&json, family)?;

        let keys = &family.keys.as_spelled(|name| json.get(name).is_some());
        let defaults = &family.defaults;
        let hidden = json.whole_from(keys.hidden, 1, None)?;
        let n_heads = json.whole_from(keys.heads, 1, None)?;
        let n_kv_heads = match keys.kv_heads {
            Some(key) if json.has(key) => json.whole_from(key, 1, Some(n_heads))?,
            _ => defaults.kv_heads.unwrap_or(n_heads),
        };
        if n_heads % n_kv_heads != 0 {
            let key = keys.kv_heads.unwrap_or(keys.heads);
            let expected = format!("a divisor of the {n_heads} attention heads");
            return Err(json.error(key, &expected, &n_kv_heads.to_string()));
        }
        let named = keys.head_dim.iter().find(|key| json.get(key).is_some());
        let head_dim_key = named.copied().unwrap_or(keys.head_dim[0]);
        let head_dim = match json.whole(head_dim_key)?.or(defaults.head_dim) {
            Some(n) if n >= 1 => n,
            Some(n) => return Err(json.error(head_dim_key, "at least 1", &n.to_string())),
            None if hidden % n_heads != 0 => {
                let expected = format!("a divisor of `{}`, {hidden}", keys.hidden);
                return Err(json.error(keys.heads, &expected, &n_heads.to_string()));
            }
            None => hidden / n_heads,
        };
        let rope = family.position == PositionKind::Rope;
        if head_dim > MAX_HEAD_DIM || (rope && head_dim % 2 != 0) {
            let kind = if rope { "an even number" } else { "a number" };
            let expected = format!("{kind} up to {MAX_HEAD_DIM}");
            return Err(json.error(head_dim_key, &expected, &head_dim.to_string()));
        }
        let n_layers = json.whole_from(keys.layers, 1, None)?;
        if n_layers > MAX_LAYERS {
            let expected = format!("at most {MAX_LAYERS}");
            return Err(json.error(keys.layers, &expected, &n_layers.to_string()));
        }
        let activation =
            json.choice(keys.activation, family.activations, family.activations[0].1)?;
        let mlp = Mlp {
            gated: family.gated,
            activation,
        };
        let gate = family.loops.as_ref().and_then(|keys| keys.gate_threshold);
        let (loops, score, exit, pool) = match (block, &family.loops) {
            (Some(block), _) => {
                let (loops, pool, exit) = parse_ztt(&block, n_layers)?;
                (loops, Some(ScoreSource::ZeroAttention), exit, Some(pool))
            }
            (None, Some(keys)) => {
                let loops = Loops::parse(&json, keys, n_layers)?;
                let exit = gate
                    .map(|threshold| gate_exit(&json, threshold))
                    .transpose()?;
                let score = gate.map(|_| ScoreSource::Gate);
                (loops, score, exit.unwrap_or_default(), None)
            }
            (None, None) => (Loops::none(n_layers), None, ExitRule::default(), None),
        };
        let config = Self {
            family,
            loops,
            score,
            exit,
            pool,
            hidden,
            intermediate: json.whole_from(keys.intermediate, 1, Some(4 * hidden))?,
            n_layers,
            n_heads,
            n_kv_heads,
            head_dim,
            vocab: json.whole_from("vocab_size", 1, None)?,
            max_positions: json.whole_from(keys.positions, 1, Some(defaults.positions))?,
            norm: family.norm,
            norm_eps: json.number(keys.norm_eps)?.unwrap_or(defaults.norm_eps),
            position: family.position,
            ropes: match family.position {
                PositionKind::Rope => vec![parse_rope(&json, head_dim)?],
                PositionKind::Learned => Vec::new(),
            },
            blocks: parse_blocks(&json, family, n_layers, head_dim, mlp)?,
            biases: parse_biases(&json, family)?,
            embedding_multiplier: 1.0,
            logits_multiplier: 1.0,
            logits_soft_cap: None,
            tied: json.flag(TIED, defaults.tied)?,
            bos: token_ids(&json, "bos_token_id")?.first().copied(),
            eos: token_ids(&json, "eos_token_id")?,
            quant: parse_quant(&json)?,
        };
        Ok(config)
    }
}

/// The object that says how matrices are quantised, and its field that names the format.
pub const QUANTIZATION: (&str, &str) = ("quantization_config", "quant_method");

/// The format that stored matrices have.
fn parse_quant(json: &Object) -> Result<Option<Quant>> {
    let (object, field) = QUANTIZATION;
    let Some(quantization) = json.object(object, object)? else {
        return Ok(None);
    };
    match quantization.text(field)? {
        Some(_) => Ok(Some(quantization.choice(field, QUANTS, Quant::Q8_0)?)),
        None => Err(quantization.error(field, "a format", "nothing")),
    }
}

fn refuse_unsupported(json: &Object, family: &Family) -> Result<()> {
    for (field, allowed) in family.fixed {
        let asked = json.get(field);
        if let Some(value) = asked.filter(|value| *value.to_string() != **allowed) {
            return Err(json.error(field, allowed, &kind(value)));
        }
    }
    for field in family.refused {
        if let Some(value) = json.asked(field) {
            let expected = "nothing, as this is not supported";
            return Err(json.error(field, expected, &kind(value)));
        }
    }
    // Absent it is true; null is false to transformers, as every other value would be.
    if json.has("is_causal") && json.get("is_causal") != Some(&Value::Bool(true)) {
        let found = json.get("is_causal").map_or("null".to_string(), kind);
        return Err(json.error("is_causal", "true", &found));
    }
    refuse_layer_configs(json)
}

/// Refuses settings of single layers, unless they set nothing.
fn refuse_layer_configs(json: &Object) -> Result<()> {
    let field = "per_layer_config";
    let Some(configs) = json.asked(field) else {
        return Ok(());
    };
    let expected = "the same settings for all layers";
    let Some(configs) = configs.as_object() else {
        return Err(json.error(field, expected, &kind(configs)));
    };
    let sets_nothing = |config: &Value| config.as_object().is_some_and(|c| c.is_empty());
    match configs.iter().find(|(_, config)| !sets_nothing(config)) {
        Some((layer, _)) => {
            let found = format!("other settings for layer {layer}");
            Err(json.error(field, expected, &found))
        }
        None => Ok(()),
    }
}

/// The exit rule of a model with a learned gate: `threshold` names the field of the chance to have
/// left by now at which a position leaves.
fn gate_exit(json: &Object, threshold: &str) -> Result<ExitRule> {
    Ok(ExitRule {
        threshold: json.number(threshold)?,
        kv: KvPolicy::Share,
        ..ExitRule::default()
    })
}
