//! Arguments that several subcommands share.

use clap::Args;

use crate::engine::MAX_BATCH;
use crate::gpu::adapter::{AdapterChoice, BACKENDS};
use crate::gpu::{CLASSES, KernelClass, Skip};
use crate::kernels::{KV_TYPES, KvType};
use crate::model::chat_template::Variables;
use crate::model::config::{ExitRule, KV_POLICIES, KvPolicy, REDUCES, Reduce};
use crate::model::generation::REPEAT_PENALTIES;
use crate::model::quant::{QUANTS, Quant};
use crate::model::{BUILTIN, Fetch, Model};

/// The name of the plain Rust reference as a value of `--adapter`.
pub const HOST: &str = "cpu";

/// Which model.
#[derive(Args)]
pub struct ModelArgs {
    /// A checkpoint folder, a safetensors file, `org/name` in the Hugging Face cache, or `builtin`
    /// [default: builtin]
    #[arg(value_name = "MODEL", env = "ZTT_MODEL")]
    pub model: Option<String>,

    /// Fetch `org/name` from the Hugging Face hub where the cache does not hold it
    #[arg(long, help_heading = "Model")]
    pub download: bool,
}

impl ModelArgs {
    /// The model's name as the user gave it, else [`BUILTIN`].
    pub fn name(&self) -> &str {
        self.model.as_deref().unwrap_or(BUILTIN)
    }

    pub fn open(&self) -> crate::Result<Model> {
        let fetch = match self.download {
            true => Fetch::IfMissing,
            false => Fetch::Never,
        };
        Model::open(self.name(), fetch)
    }
}

/// The model to run, and layers of it that run in cycles.
#[derive(Args)]
pub struct LoopedModelArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// Run layers A to B, counted from 0, N times, in a model that runs each layer once
    #[arg(long = "loop", value_name = "A-BxN", value_parser = layer_loop, help_heading = "Model")]
    layers: Option<LayerLoop>,
}

/// Layers that run in cycles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerLoop {
    first: usize,
    last: usize,
    cycles: usize,
}

impl LoopedModelArgs {
    /// Whether the command line names a model.
    pub fn is_given(&self) -> bool {
        self.model.model.is_some()
    }

    pub fn name(&self) -> &str {
        self.model.name()
    }

    pub fn open(&self) -> crate::Result<Model> {
        looped(self.model.open()?, self.layers)
    }
}

/// The model with these layers in cycles, where there are any.
pub fn looped(model: Model, layers: Option<LayerLoop>) -> crate::Result<Model> {
    match layers {
        None => Ok(model),
        Some(l) => model.with_loop(l.first, l.last, l.cycles),
    }
}

/// How the model is run, and where.
#[derive(Args)]
pub struct EngineArgs {
    /// Run at most this many cycles [default: all]
    #[arg(long, value_name = "C", value_parser = at_least_one, help_heading = "Early exit")]
    pub cycles: Option<usize>,

    /// Leave the cycles when the score reaches this [default: the model's]
    #[arg(long, value_name = "S", value_parser = finite, allow_negative_numbers = true,
          conflicts_with = "no_exit", help_heading = "Early exit")]
    pub exit_threshold: Option<f64>,

    /// Run every cycle
    #[arg(long, help_heading = "Early exit")]
    pub no_exit: bool,

    #[command(flatten)]
    pub rule: RuleArgs,

    /// Positions the cache has room for [default: the model's maximum, at most 4096]
    #[arg(long, value_name = "N", value_parser = at_least_one, env = "ZTT_CTX",
          help_heading = "Device")]
    pub ctx: Option<usize>,

    #[command(flatten)]
    pub device: DeviceArgs,
}

/// The parts of the exit rule besides the threshold.
#[derive(Args)]
pub struct RuleArgs {
    /// Run at least this many cycles before leaving [default: the model's, else 1]
    #[arg(long, value_name = "C", value_parser = at_least_one, help_heading = "Early exit")]
    pub min_cycles: Option<usize>,

    /// How the zero attention of a cycle's layers becomes one score: mean, max, min, first, last
    #[arg(long, value_name = "HOW", value_parser = reduce, help_heading = "Early exit")]
    pub exit_reduce: Option<Reduce>,

    /// Keys and values of skipped cycles: propagate, share
    #[arg(long, value_name = "POLICY", value_parser = kv_policy, help_heading = "Early exit")]
    pub exit_kv: Option<KvPolicy>,

    /// Whether tokens of the prompt leave the cycles, too: yes, no [default: the model's, else yes,
    /// and no with a learned gate]
    #[arg(long, value_name = "YES|NO", value_parser = yes_or_no, help_heading = "Early exit")]
    pub exit_prompt: Option<bool>,
}

/// Which adapter, and which kernels on it.
#[derive(Args)]
pub struct AdapterArgs {
    /// Adapter, by a part of its name, by its index, or `cpu` for the plain Rust reference
    #[arg(
        long = "adapter",
        value_name = "NAME|INDEX|cpu",
        env = "ZTT_ADAPTER",
        help_heading = "Device"
    )]
    pub name: Option<String>,

    /// Only adapters of this backend: vulkan, metal, dx12
    #[arg(long, value_name = "NAME", value_parser = backend, env = "ZTT_BACKEND",
          help_heading = "Device")]
    pub backend: Option<wgpu::Backend>,

    /// The class of kernels: subgroup, workgroup, software [default: what suits the adapter, see
    /// `devices`]
    #[arg(long, value_name = "CLASS", value_parser = kernels, env = "ZTT_KERNELS",
          help_heading = "Device")]
    pub kernels: Option<KernelClass>,

    /// How cycles that no row runs are skipped: `count`, by indirect dispatches of zero, or `return`,
    /// by kernels that return at once [default: what is cheaper on the adapter, see `microbench`]
    #[arg(long, value_name = "HOW", value_parser = skip, env = "ZTT_SKIP", help_heading = "Device")]
    pub skip: Option<Skip>,
}

/// Where a model runs, and how its cache is kept there.
#[derive(Args)]
pub struct DeviceArgs {
    #[command(flatten)]
    pub adapter: AdapterArgs,

    /// How keys and values are kept: f16 (approximate, half the memory), f32 (exact), q8_0 (coarser,
    /// about half of f16)
    #[arg(long, value_name = "TYPE", value_parser = kv_type, default_value = "f16",
          env = "ZTT_KV_TYPE", help_heading = "Device")]
    pub kv_type: KvType,

    /// Quantise matrices on the way: q8_0 (8.5 bits a weight), q4_0 (4.5 bits) [default: as stored]
    #[arg(long, value_name = "FORMAT", value_parser = quant, help_heading = "Device")]
    pub quant: Option<Quant>,

    /// Passes that are submitted before the first of them is read, where tokens are drawn on the
    /// adapter [default: 3, on a software adapter 1]
    #[arg(long, value_name = "N", value_parser = at_least_one, env = "ZTT_AHEAD",
          help_heading = "Device")]
    pub ahead: Option<usize>,
}

impl AdapterArgs {
    /// Whether the plain Rust reference is asked for.
    pub fn is_host(&self) -> bool {
        self.name.as_deref() == Some(HOST)
    }

    pub fn choice(&self) -> AdapterChoice {
        AdapterChoice {
            name: self.name.clone(),
            backend: self.backend,
        }
    }
}

impl EngineArgs {
    /// The model's exit rule with the flags put over it.
    pub fn exit_rule(&self, model: ExitRule) -> ExitRule {
        ExitRule {
            threshold: match self.no_exit {
                true => None,
                false => self.exit_threshold.or(model.threshold),
            },
            ..self.rule.over(model)
        }
    }
}

impl RuleArgs {
    /// The model's exit rule with the flags put over it.
    pub fn over(&self, model: ExitRule) -> ExitRule {
        ExitRule {
            threshold: model.threshold,
            min_cycles: self.min_cycles.unwrap_or(model.min_cycles),
            reduce: self.exit_reduce.unwrap_or(model.reduce),
            kv: self.exit_kv.unwrap_or(model.kv),
            prompt: self.exit_prompt.or(model.prompt),
        }
    }
}

pub fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if n >= 1 => Ok(n),
        _ => Err("expected a whole number of at least 1".to_string()),
    }
}

/// Texts that are extended together.
pub fn parallel(text: &str) -> Result<usize, String> {
    match at_least_one(text) {
        Ok(n) if n <= MAX_BATCH => Ok(n),
        _ => Err(format!("expected a whole number from 1 to {MAX_BATCH}")),
    }
}

/// Repetitions of a test, the figures of all of which are kept.
pub fn repetitions(text: &str) -> Result<usize, String> {
    const MOST: usize = 1_000_000;
    match at_least_one(text) {
        Ok(n) if n <= MOST => Ok(n),
        _ => Err(format!("expected a whole number from 1 to {MOST}")),
    }
}

pub fn finite(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if x.is_finite() => Ok(x),
        _ => Err("expected a finite number".to_string()),
    }
}

pub fn not_negative(text: &str) -> Result<f64, String> {
    match finite(text) {
        Ok(x) if x >= 0.0 => Ok(x),
        _ => Err("expected a number of at least 0".to_string()),
    }
}

pub fn repeat_penalty(text: &str) -> Result<f64, String> {
    match finite(text) {
        Ok(x) if REPEAT_PENALTIES.contains(&x) => Ok(x),
        _ => Err("expected a number from 0.001 to 1000".to_string()),
    }
}

/// A number followed by `%`, at least 0.
pub fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').map(|n| not_negative(n.trim_end()));
    match number {
        Some(Ok(x)) => Ok(x),
        _ => Err("expected a percentage of at least 0, such as `1%`".to_string()),
    }
}

pub fn fraction(text: &str) -> Result<f64, String> {
    match finite(text) {
        Ok(x) if (0.0..=1.0).contains(&x) => Ok(x),
        _ => Err("expected a number from 0 to 1".to_string()),
    }
}

/// Layers and how often they run, such as `4-15x2`.
pub fn layer_loop(text: &str) -> Result<LayerLoop, String> {
    let parts = text.split_once('x').and_then(|(layers, cycles)| {
        let (first, last) = layers.split_once('-')?;
        Some(LayerLoop {
            first: first.parse().ok()?,
            last: last.parse().ok()?,
            cycles: cycles.parse().ok()?,
        })
    });
    parts.ok_or_else(|| "expected layers and how often they run, such as `4-15x2`".to_string())
}

/// Variables of a chat template, as a JSON object.
pub fn variables(text: &str) -> Result<Variables, String> {
    Variables::parse(text).map_err(|e| e.to_string())
}

fn backend(text: &str) -> Result<wgpu::Backend, String> {
    named(text, BACKENDS)
}

fn skip(text: &str) -> Result<Skip, String> {
    let skips = [Skip::ZeroCount, Skip::EarlyReturn];
    named(text, &skips.map(|skip| (skip.name(), skip)))
}

fn kernels(text: &str) -> Result<KernelClass, String> {
    KernelClass::named(text).map_or_else(|| named(text, CLASSES), Ok)
}

pub fn kv_type(text: &str) -> Result<KvType, String> {
    named(text, KV_TYPES)
}

pub fn quant(text: &str) -> Result<Quant, String> {
    named(text, QUANTS)
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    named(text, &[("yes", true), ("no", false)])
}

fn reduce(text: &str) -> Result<Reduce, String> {
    named(text, REDUCES)
}

pub fn kv_policy(text: &str) -> Result<KvPolicy, String> {
    named(text, KV_POLICIES)
}

pub fn named<T: Copy>(text: &str, names: &[(&str, T)]) -> Result<T, String> {
    match names.iter().find(|(name, _)| *name == text) {
        Some((_, value)) => Ok(*value),
        None => {
            let known: Vec<_> = names.iter().map(|(name, _)| *name).collect();
            Err(format!("expected one of {}", known.join(", ")))
        }
    }
}

pub fn name_of<T: PartialEq>(names: &[(&'static str, T)], value: T) -> &'static str {
    names
        .iter()
        .find(|(_, v)| *v == value)
        .map_or("", |(name, _)| name)
}
