//! How a model is to be run.

use crate::error::{Error, Result};
use crate::kernels::KvType;
use crate::model::Model;
use crate::model::config::ExitRule;
use crate::schedule::Schedule;

/// How a model is to be run.
#[derive(Clone, Debug)]
pub struct Options {
    /// At most this many cycles; `None` for all that are stored.
    pub cap: Option<usize>,
    pub exit: ExitRule,
    /// Positions the cache has room for.
    pub n_ctx: usize,
    /// How the KV cache on a device is stored. The host's reference keeps doubles.
    pub kv_type: KvType,
    /// Whether calls will ask for the logits of all positions; decides how much memory is kept.
    pub logits: Logits,
}

/// Positions that the KV cache has room for by default: a longer one takes more memory.
pub const DEFAULT_CTX: usize = 4096;

impl Options {
    /// Options as the model asks for: its own exit rule, all cycles, keys and values in f32,
    /// logits of the last position, and the model's positions but at most 4096.
    pub fn of(model: &Model) -> Self {
        Self {
            cap: None,
            exit: model.config.exit(),
            n_ctx: model.config.max_positions.min(DEFAULT_CTX),
            kv_type: KvType::F32,
            logits: Logits::Last,
        }
    }
}

/// Which positions of a call to [`Engine::forward`](super::Engine::forward) need logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logits {
    All,
    Last,
}

/// Checks the options and makes the walk they ask for.
pub(super) fn schedule(model: &Model, options: &Options) -> Result<Schedule> {
    let maximum = model.config.max_positions;
    if !(1..=maximum).contains(&options.n_ctx) {
        return Err(Error::Option {
            option: "--ctx",
            expected: format!("1 to {maximum}, the positions of the model"),
            found: options.n_ctx.to_string(),
        });
    }
    if let Some(threshold) = options.exit.threshold.filter(|t| !t.is_finite()) {
        return Err(Error::Option {
            option: "--exit-threshold",
            expected: "a finite number".to_string(),
            found: threshold.to_string(),
        });
    }
    Schedule::new(
        &model.config,
        model.pool.is_some(),
        options.cap,
        options.exit.clone(),
    )
}
