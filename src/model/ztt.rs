//! The `ztt` block of `config.json`: cycles, pool, exit rule.

use super::json::Object;
use super::loops::Loops;
use super::sizes::MAX_LAYERS;
use crate::error::Result;

/// How the zero-token pool is indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    pub scope: ZeroTokenScope,
    pub index: ZeroTokenIndex,
}

/// Which effective layers have a zero token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZeroTokenScope {
    All,
    Middle,
}

/// Whether the pool has a row for each effective layer or for each cycle.
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

/// When a position exits the cycles.
#[derive(Clone, Debug, PartialEq)]
pub struct ExitRule {
    /// `None`: nothing exits.
    pub threshold: Option<f64>,
    /// No position exits before it ran this many cycles; at least 1.
    pub min_cycles: usize,
    pub reduce: Reduce,
    pub kv: KvPolicy,
    /// Whether tokens of a prompt may exit, too; `None`: as is usual for what makes the scores.
    pub prompt: Option<bool>,
}

impl Default for ExitRule {
    fn default() -> Self {
        Self {
            threshold: None,
            min_cycles: 1,
            reduce: Reduce::Mean,
            kv: KvPolicy::Propagate,
            prompt: None,
        }
    }
}

impl KvPolicy {
    /// The name of the policy in files and flags.
    pub fn name(self) -> &'static str {
        name_of(KV_POLICIES, self)
    }
}

/// The name of `value` in a list that has all values.
fn name_of<T: PartialEq>(names: &[(&'static str, T)], value: T) -> &'static str {
    let found = names.iter().find(|(_, known)| *known == value);
    found.map_or("", |(name, _)| name)
}

impl Reduce {
    /// The name of the reduction in files and flags.
    pub fn name(self) -> &'static str {
        name_of(REDUCES, self)
    }

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

/// Reads the block of a model with `n_layers` stored layers.
pub(super) fn parse_ztt(json: &Object, n_layers: usize) -> Result<(Loops, PoolConfig, ExitRule)> {
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
    let loops = Loops {
        head_layers,
        tail_layers,
        cycles,
        norm: false,
    };
    let pool = PoolConfig {
        scope: json.choice("zero_token_scope", &scopes, ZeroTokenScope::All)?,
        index: json.choice("zero_token_index", &indexes, ZeroTokenIndex::EffectiveLayer)?,
    };
    let exit = match json.object("exit", "ztt.exit")? {
        None => ExitRule::default(),
        Some(exit) => ExitRule {
            threshold: exit.number("threshold")?,
            min_cycles: exit.whole_from("min_cycles", 1, Some(1))?,
            reduce: exit.choice("reduce", REDUCES, Reduce::Mean)?,
            kv: exit.choice("kv", KV_POLICIES, KvPolicy::Propagate)?,
            prompt: exit
                .get("prompt")
                .map(|_| exit.flag("prompt", true))
                .transpose()?,
        },
    };
    Ok((loops, pool, exit))
}
