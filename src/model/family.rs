//! The model families: one table each of config keys, tensor names and block parts.
//! Adding a family means adding a table.

mod tables;

use super::block::{Activation, BranchNorms, QkNorm};
use super::role::Role;
pub use tables::FAMILIES;

/// Where a family's `config.json` keeps its numbers.
#[derive(Clone, Copy)]
pub struct ConfigKeys {
    pub hidden: &'static str,
    pub layers: &'static str,
    pub heads: &'static str,
    pub kv_heads: Option<&'static str>,
    pub intermediate: &'static str,
    pub positions: &'static str,
    pub norm_eps: &'static str,
    pub activation: &'static str,
    /// The width of a head, by the first of these that is there.
    pub head_dim: &'static [&'static str],
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
            head_dim: self.head_dim,
            aliases: self.aliases,
        }
    }
}

/// The values of fields that a config leaves out.
#[derive(Clone, Copy)]
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

/// When the linear map of a role has a bias.
#[derive(Clone, Copy, Debug)]
pub enum Bias {
    Always,
    /// A flag of the config says so; without it there is none.
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

/// Where the config of a family that runs all of its layers in cycles says how often, and when a
/// learned gate ends that.
#[derive(Clone, Copy)]
pub struct LoopKeys {
    pub cycles: &'static str,
    /// Cycles where the config has no such field.
    pub default_cycles: usize,
    /// A list with a value for every cycle but the last; where it is there, its length counts.
    pub weights: Option<&'static str>,
    /// The last cycle that runs, counted from 0.
    pub last_cycle: Option<&'static str>,
    /// The final norm comes only once, after the last cycle, instead of after every one.
    pub skip_norm: Option<&'static str>,
    /// The threshold of the learned gate, in families with one.
    pub gate_threshold: Option<&'static str>,
    /// The family of the same layers without cycles, where there is one.
    pub plain: Option<&'static str>,
}

/// The normalisation of the residual stream and of branches.
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

/// Tensor names by role, those of layers after [`TensorNames::layer`]. Several are stacked along
/// the outputs: `q`, `k`, `v`, and `gate`, `up`; one alone holds all of a role's outputs.
pub type RoleNames = &'static [(Role, &'static [&'static str])];

/// Tensor names. `{}` stands for the prefix, `{i}` for the parameter layer.
#[derive(Clone, Copy)]
pub struct TensorNames {
    /// Prefixes met in the wild, tried in this order.
    pub prefixes: &'static [&'static str],
    /// How the names of a layer's tensors begin.
    pub layer: &'static str,
    /// Where several lists have a role, the first of them counts.
    pub names: &'static [RoleNames],
    /// Tensors that public checkpoints carry and no forward pass needs.
    pub ignored: &'static [&'static str],
}

impl TensorNames {
    /// The names of a role's tensors, without `.weight`; none where the family has no such role.
    pub fn of(&self, role: Role, prefix: &str, layer: usize) -> Vec<String> {
        let mut lists = self.names.iter();
        let found = lists.find_map(|list| list.iter().find(|(known, _)| *known == role));
        let start = if role.is_of_layer() { self.layer } else { "" };
        let full = |name: &&str| {
            let name = format!("{start}{name}").replace("{}", prefix);
            name.replace("{i}", &layer.to_string())
        };
        let names = found.into_iter().flat_map(|(_, names)| names.iter());
        names.map(full).collect()
    }
}

/// A model family.
#[derive(Clone, Copy)]
pub struct Family {
    /// The `model_type` (or `base_model_type`) in `config.json`.
    pub name: &'static str,
    pub keys: ConfigKeys,
    pub defaults: ConfigDefaults,
    pub norm: NormKind,
    pub position: PositionKind,
    /// The norms of attention, and of the MLP.
    pub norms: BranchNorms,
    pub qk_norm: Option<QkNorm>,
    /// `None`: all layers run once, unless the model is a ZTT.
    pub loops: Option<LoopKeys>,
    /// The MLP has a gate.
    pub gated: bool,
    /// The activations understood, by the name in the config.
    pub activations: &'static [(&'static str, Activation)],
    pub tensors: TensorNames,
    /// The linear maps that have a bias.
    pub biases: &'static [(Role, Bias)],
    pub window: Window,
    /// Linear weights are stored `[in, out]` instead of `[out, in]`.
    pub transposed: bool,
    /// Config fields whose other values change the forward pass in ways not supported:
    /// the field, and the one value (as JSON) that it may have besides being absent.
    pub fixed: &'static [(&'static str, &'static str)],
    /// Config fields that change the forward pass in ways not supported, unless they are `null`,
    /// `false`, 0 or empty.
    pub refused: &'static [&'static str],
}

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
