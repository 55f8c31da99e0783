//! `config.json`: the base family's shapes, and the `ztt` block.

use super::family::{Activation, Bias, Family, NormKind, PositionKind, Window};
use super::json::{Object, parse_object};
use crate::error::{Error, Result};

/// The largest head the attention kernels hold in workgroup memory.
pub const MAX_HEAD_DIM: usize = 256;

/// More layers, stored or run, are a mistake in the file, not a model.
const MAX_LAYERS: usize = 65_536;

/// What `config.json` says, in one vocabulary for all families.
#[derive(Clone, Debug)]
pub struct Config {
    pub family: &'static Family,
    /// Whether the file calls itself a ZTT.
    pub ztt: Option<ZttConfig>,
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
    pub rope: Rope,
    /// For each parameter layer how many positions it looks back, itself counted; `None` for all.
    pub windows: Vec<Option<usize>>,
    pub activation: Activation,
    pub qkv_bias: bool,
    pub o_bias: bool,
    pub mlp_bias: bool,
    /// The output projection is the embedding.
    pub tied: bool,
    pub bos: Option<u32>,
    pub eos: Vec<u32>,
}

/// The rotary embedding's frequencies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rope {
    /// Base of the frequencies.
    pub theta: f64,
    pub scaling: RopeScaling,
}

/// How the frequencies are stretched for contexts longer than the model first knew.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    None,
    /// All frequencies divided by `factor`.
    Linear {
        factor: f64,
    },
    /// Low frequencies divided by `factor`, high ones kept, those between blended (LLaMA 3.1).
    Llama3 {
        factor: f64,
        low_freq_factor: f64,
        high_freq_factor: f64,
        original_positions: f64,
    },
}

/// The `ztt` block: how the stored layers are cycled, and how the pool is indexed.
#[derive(Clone, Debug, PartialEq)]
pub struct ZttConfig {
    /// `h`: layers before the cycled ones.
    pub head_layers: usize,
    /// `t`: layers after them.
    pub tail_layers: usize,
    /// `N`: how often the middle layers run.
    pub cycles: usize,
    pub scope: ZeroTokenScope,
    pub index: ZeroTokenIndex,
    pub exit: ExitRule,
}

/// Which effective layers have a zero token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZeroTokenScope {
    All,
    Middle,
}

/// What a row of the pool belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZeroTokenIndex {
    EffectiveLayer,
    Cycle,
}

/// How the zero attention of a cycle's layers becomes one score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduce {
    Mean,
    Max,
    Min,
    First,
    Last,
}

/// Where keys and values of skipped cycles come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvPolicy {
    /// Projected from the residual stream at the exit.
    Propagate,
    /// Copied from the last cycle that ran.
    Share,
}

/// The names of [`Reduce`] in files and flags.
pub const REDUCES: &[(&str, Reduce)] = &[
    ("mean", Reduce::Mean),
    ("max", Reduce::Max),
    ("min", Reduce::Min),
    ("first", Reduce::First),
    ("last", Reduce::Last),
];

/// The names of [`KvPolicy`] in files and flags.
pub const KV_POLICIES: &[(&str, KvPolicy)] = &[
    ("propagate", KvPolicy::Propagate),
    ("share", KvPolicy::Share),
];

/// When a position leaves the cycles.
#[derive(Clone, Debug, PartialEq)]
pub struct ExitRule {
    /// `None`: nothing exits.
    pub threshold: Option<f64>,
    /// No position leaves before it ran this many cycles; at least 1.
    pub min_cycles: usize,
    pub reduce: Reduce,
    pub kv: KvPolicy,
}

impl Default for ExitRule {
    fn default() -> Self {
        Self {
            threshold: None,
            min_cycles: 1,
            reduce: Reduce::Mean,
            kv: KvPolicy::Propagate,
        }
    }
}

impl ExitRule {
    /// Whether a position that ran `cycles_run` of `n_cycles` cycles may leave on its score.
    pub fn decides_after(&self, cycles_run: usize, n_cycles: usize) -> bool {
        self.threshold.is_some() && cycles_run >= self.min_cycles && cycles_run < n_cycles
    }
}

impl Reduce {
    /// One score from the mean zero attention of each middle layer.
    pub fn apply(self, layers: &[f64]) -> f64 {
        match self {
            Reduce::Mean => layers.iter().sum::<f64>() / layers.len() as f64,
            Reduce::Max => layers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Reduce::Min => layers.iter().copied().fold(f64::INFINITY, f64::min),
            Reduce::First => layers[0],
            Reduce::Last => layers[layers.len() - 1],
        }
    }
}

impl Config {
    /// `h`: layers before the cycled ones. All of them in a plain checkpoint.
    pub fn head_layers(&self) -> usize {
        self.ztt.as_ref().map_or(self.n_layers, |z| z.head_layers)
    }

    /// `t`: layers after the cycled ones.
    pub fn tail_layers(&self) -> usize {
        self.ztt.as_ref().map_or(0, |z| z.tail_layers)
    }

    /// `m`: the cycled layers. None in a plain checkpoint.
    pub fn middle_layers(&self) -> usize {
        self.n_layers - self.head_layers() - self.tail_layers()
    }

    /// `N`: stored cycles.
    pub fn cycles(&self) -> usize {
        self.ztt.as_ref().map_or(1, |z| z.cycles)
    }

    /// The exit rule the file asks for.
    pub fn exit(&self) -> ExitRule {
        self.ztt
            .as_ref()
            .map_or_else(ExitRule::default, |z| z.exit.clone())
    }

    /// Width of all query heads together.
    pub fn q_dim(&self) -> usize {
        self.n_heads * self.head_dim
    }

    /// Width of all key heads together, and of all value heads.
    pub fn kv_dim(&self) -> usize {
        self.n_kv_heads * self.head_dim
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
        refuse_unsupported(&json, family)?;

        let keys = &family.keys;
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
        let head_dim = match json.whole("head_dim")?.or(defaults.head_dim) {
            Some(n) if n >= 1 => n,
            Some(n) => return Err(json.error("head_dim", "at least 1", &n.to_string())),
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
            return Err(json.error("head_dim", &expected, &head_dim.to_string()));
        }
        let n_layers = json.whole_from(keys.layers, 1, None)?;
        if n_layers > MAX_LAYERS {
            let expected = format!("at most {MAX_LAYERS}");
            return Err(json.error(keys.layers, &expected, &n_layers.to_string()));
        }
        let activation =
            json.choice(keys.activation, family.activations, family.activations[0].1)?;
        let has_bias = |bias: Bias| match bias {
            Bias::Never => Ok(false),
            Bias::Always => Ok(true),
            Bias::Flag(key) => json.flag(key, false),
        };
        let config = Self {
            family,
            ztt: block.map(|b| parse_ztt(&b, n_layers)).transpose()?,
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
            rope: parse_rope(&json)?,
            windows: parse_windows(&json, family, n_layers)?,
            activation,
            qkv_bias: has_bias(family.qkv_bias)?,
            o_bias: has_bias(family.o_bias)?,
            mlp_bias: has_bias(family.mlp_bias)?,
            tied: json.flag("tie_word_embeddings", defaults.tied)?,
            bos: token_ids(&json, "bos_token_id")?.first().copied(),
            eos: token_ids(&json, "eos_token_id")?,
        };
        Ok(config)
    }
}

/// The rotary embedding, in the newer spelling (`rope_parameters`) or the older one
/// (`rope_theta`, `rope_scaling`), which wins where both are given, as in transformers.
fn parse_rope(json: &Object) -> Result<Rope> {
    let block = match json.object("rope_scaling", "rope_scaling")? {
        Some(block) => Some(block),
        None => json.object("rope_parameters", "rope_parameters")?,
    };
    let nested = block.map(|block| block.number("rope_theta")).transpose()?;
    let theta = nested.flatten().or(json.number("rope_theta")?);
    let theta = theta.unwrap_or(10_000.0);
    if theta <= 0.0 {
        return Err(json.error("rope_theta", "a number above 0", &theta.to_string()));
    }
    let scaling = match block {
        Some(block) => parse_rope_scaling(json, &block)?,
        None => RopeScaling::None,
    };
    Ok(Rope { theta, scaling })
}

fn parse_rope_scaling(json: &Object, block: &Object) -> Result<RopeScaling> {
    let field = if block.get("rope_type").is_some() {
        "rope_type"
    } else {
        "type"
    };
    let above_zero = |field: &str| -> Result<f64> {
        match block.number(field)? {
            Some(x) if x > 0.0 => Ok(x),
            Some(x) => Err(block.error(field, "a number above 0", &x.to_string())),
            None => Err(block.error(field, "a number above 0", "nothing")),
        }
    };
    let kinds = [("default", 0), ("linear", 1), ("llama3", 2)];
    Ok(match block.choice(field, &kinds, 0)? {
        0 => RopeScaling::None,
        1 => RopeScaling::Linear {
            factor: above_zero("factor")?,
        },
        _ => RopeScaling::Llama3 {
            factor: above_zero("factor")?,
            low_freq_factor: above_zero("low_freq_factor")?,
            high_freq_factor: above_zero("high_freq_factor")?,
            original_positions: match json.whole("original_max_position_embeddings")? {
                Some(n) if n >= 1 => n as f64,
                _ if block.has("original_max_position_embeddings") => {
                    above_zero("original_max_position_embeddings")?
                }
                _ => json.whole_from("max_position_embeddings", 1, None)? as f64,
            },
        },
    })
}

/// The sliding window of each parameter layer.
fn parse_windows(json: &Object, family: &Family, n: usize) -> Result<Vec<Option<usize>>> {
    let on = match family.window {
        Window::Never => false,
        Window::All => true,
        Window::Some => json.flag("use_sliding_window", false)?,
    };
    let default = match json.has("sliding_window") {
        true => None,
        false => family.defaults.sliding_window,
    };
    let window = match json.get("sliding_window") {
        Some(_) if on => Some(json.whole_from("sliding_window", 1, None)?),
        _ => default,
    };
    let window = window.filter(|_| on);
    if family.window == Window::Never {
        return Ok(vec![None; n]);
    }
    if let Some(types) = json.get("layer_types") {
        let types = types.as_array().filter(|t| t.len() == n);
        let expected = format!("a list of {n} layer types");
        let types = types.ok_or_else(|| json.error("layer_types", &expected, "something else"))?;
        return types
            .iter()
            .map(|t| match (t.as_str(), window) {
                (Some("full_attention"), _) => Ok(None),
                (Some("sliding_attention"), Some(window)) => Ok(Some(window)),
                (Some("sliding_attention"), None) => {
                    let expected = "`full_attention` where there is no sliding window";
                    Err(json.error("layer_types", expected, "`sliding_attention`"))
                }
                _ => {
                    let known = "`full_attention` or `sliding_attention`";
                    Err(json.error("layer_types", known, &t.to_string()))
                }
            })
            .collect();
    }
    if family.window == Window::All {
        return Ok(vec![window; n]);
    }
    let first = json.whole("max_window_layers")?;
    let first = first.unwrap_or(family.defaults.max_window_layers);
    Ok((0..n).map(|i| window.filter(|_| i >= first)).collect())
}

/// A token id or a list of them; absent is an empty list.
pub(super) fn token_ids(json: &Object, field: &str) -> Result<Vec<u32>> {
    let Some(value) = json.get(field) else {
        return Ok(Vec::new());
    };
    let list = match value {
        serde_json::Value::Array(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    list.iter()
        .map(|id| {
            id.as_u64()
                .and_then(|n| u32::try_from(n).ok())
                .ok_or_else(|| json.error(field, "a token id", &id.to_string()))
        })
        .collect()
}

fn refuse_unsupported(json: &Object, family: &Family) -> Result<()> {
    for (field, allowed) in family.fixed {
        if let Some(value) = json
            .get(field)
            .filter(|v| v.to_string().as_str() != *allowed)
        {
            let found = match value {
                serde_json::Value::Object(o) => o
                    .get("rope_type")
                    .or_else(|| o.get("type"))
                    .map_or_else(|| "an object".to_string(), |t| t.to_string()),
                other => other.to_string(),
            };
            return Err(json.error(field, allowed, &found));
        }
    }
    Ok(())
}

fn parse_ztt(json: &Object, n_layers: usize) -> Result<ZttConfig> {
    let head_layers = json.whole_from("head_layers", 0, None)?;
    let tail_layers = json.whole_from("tail_layers", 0, None)?;
    if head_layers + tail_layers >= n_layers {
        let expected =
            format!("with the {head_layers} head layers fewer than the {n_layers} stored layers");
        return Err(json.error("tail_layers", &expected, &tail_layers.to_string()));
    }
    let cycles = json.whole_from("cycles", 1, None)?;
    let middle = n_layers - head_layers - tail_layers;
    if cycles.saturating_mul(middle) > MAX_LAYERS {
        let expected = format!("at most {}", MAX_LAYERS / middle);
        return Err(json.error("cycles", &expected, &cycles.to_string()));
    }
    let scopes = [
        ("all", ZeroTokenScope::All),
        ("middle", ZeroTokenScope::Middle),
    ];
    let indexes = [
        ("effective_layer", ZeroTokenIndex::EffectiveLayer),
        ("cycle", ZeroTokenIndex::Cycle),
    ];
    Ok(ZttConfig {
        head_layers,
        tail_layers,
        cycles,
        scope: json.choice("zero_token_scope", &scopes, ZeroTokenScope::All)?,
        index: json.choice("zero_token_index", &indexes, ZeroTokenIndex::EffectiveLayer)?,
        exit: match json.object("exit", "ztt.exit")? {
            None => ExitRule::default(),
            Some(exit) => ExitRule {
                threshold: exit.number("threshold")?,
                min_cycles: exit.whole_from("min_cycles", 1, Some(1))?,
                reduce: exit.choice("reduce", REDUCES, Reduce::Mean)?,
                kv: exit.choice("kv", KV_POLICIES, KvPolicy::Propagate)?,
            },
        },
    })
}

/// `generation_config.json`: what the model's makers suggest for sampling.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenerationConfig {
    pub temperature: Option<f64>,
    pub top_k: Option<usize>,
    pub top_p: Option<f64>,
    pub min_p: Option<f64>,
    pub repeat_penalty: Option<f64>,
    pub max_tokens: Option<usize>,
    /// `do_sample`: false asks for greedy decoding.
    pub sample: Option<bool>,
    pub bos: Option<u32>,
    pub eos: Vec<u32>,
}

impl GenerationConfig {
    /// Reads `text`; `file` names it in errors.
    pub fn parse(file: &str, text: &str) -> Result<Self, Error> {
        let fields = parse_object(file, text)?;
        let json = Object::new(file, &fields);
        Ok(Self {
            temperature: json.number("temperature")?,
            top_k: json.whole("top_k")?,
            top_p: json.number("top_p")?,
            min_p: json.number("min_p")?,
            repeat_penalty: json.number("repetition_penalty")?,
            max_tokens: json.whole("max_new_tokens")?,
            sample: json.get("do_sample").and_then(|v| v.as_bool()),
            bos: token_ids(&json, "bos_token_id")?.first().copied(),
            eos: token_ids(&json, "eos_token_id")?,
        })
    }
}
