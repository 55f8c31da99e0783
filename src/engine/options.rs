//! How a model is to be run.

use super::drafts::Drafts;
use crate::error::{Error, Result};
use crate::kernels::KvType;
use crate::model::Model;
use crate::model::config::ExitRule;
use crate::schedule::{TextRules, Walk};

/// How a model is to be run.
#[derive(Clone, Debug)]
pub struct Options {
    /// At most this many cycles; `None` for all that are stored.
    pub cap: Option<usize>,
    /// How scores are made, and the rule of texts that bring none of their own.
    pub exit: ExitRule,
    /// Sequences, each with a cache of its own.
    pub n_sequences: usize,
    /// Positions that the cache of a sequence has room for.
    pub n_ctx: usize,
    /// How the KV cache on a device is stored. The host keeps doubles, but for
    /// [`Engine::on_host_as_stored`](super::Engine::on_host_as_stored).
    pub kv_type: KvType,
    /// Whether calls will ask for the logits of all positions, or of one of each sequence; decides
    /// how much memory is kept.
    pub logits: Logits,
    /// Where guesses of the tokens of a text come from.
    pub drafts: Drafts,
}

/// Positions that the KV cache has room for by default: a longer one takes more memory.
pub const DEFAULT_CTX: usize = 4096;

impl Options {
    /// Options as the model asks for: its own exit rule, all cycles, one sequence, keys and values
    /// in f32, logits of the last position, no guesses, and the model's positions but at most 4096.
    pub fn of(model: &Model) -> Self {
        Self {
            cap: None,
            exit: model.config.exit(),
            n_sequences: 1,
            n_ctx: model.config.max_positions.min(DEFAULT_CTX),
            kv_type: KvType::F32,
            logits: Logits::Last,
            drafts: Drafts::NONE,
        }
    }

    /// These options for several sequences.
    pub fn with_sequences(self, n_sequences: usize) -> Self {
        Self {
            n_sequences,
            ..self
        }
    }
}

/// Which positions of a call to [`Engine::forward`](super::Engine::forward) need logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logits {
    All,
    Last,
}

/// Checks the options and makes the walk they ask for, and the rules of texts.
pub(super) fn walk(model: &Model, options: &Options) -> Result<(Walk, TextRules)> {
    let maximum = model.config.max_positions;
    if !(1..=maximum).contains(&options.n_ctx) {
        return Err(Error::Option {
            option: "--ctx",
            expected: format!("1 to {maximum}, the positions of the model"),
            found: options.n_ctx.to_string(),
        });
    }
    let exit = &options.exit;
    if let Some(threshold) = exit.threshold.filter(|t| !t.is_finite()) {
        return Err(Error::Option {
            option: "--exit-threshold",
            expected: "a finite number".to_string(),
            found: threshold.to_string(),
        });
    }
    let walk = Walk::new(&model.config, options.cap, exit)?;
    let rules = walk.rules(exit);
    options.drafts.cuts(&walk, &rules)?;
    Ok((walk, rules))
}
