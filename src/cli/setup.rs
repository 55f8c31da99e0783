//! From flags to an engine.

use anyhow::Result;

use super::args::EngineArgs;
use crate::engine::{Engine, Options};
use crate::error::Error;
use crate::model::Model;

/// Contexts are no longer than this unless `--ctx` says so: a cache has its price.
const DEFAULT_CTX: usize = 4096;

/// The context length that the flags and the model ask for.
pub fn n_ctx(asked: Option<usize>, model: &Model) -> Result<usize> {
    let maximum = model.config.max_positions;
    match asked {
        Some(n) if n > maximum => Err(Error::Option {
            option: "--ctx",
            expected: format!("at most {maximum}, the positions of the model"),
            found: n.to_string(),
        }
        .into()),
        Some(n) => Ok(n),
        None => Ok(maximum.min(DEFAULT_CTX)),
    }
}

/// An engine for `model`, and one line that says what it runs on.
pub fn engine<'m>(args: &EngineArgs, model: &'m Model) -> Result<(Engine<'m>, String)> {
    let options = Options {
        cap: args.cycles,
        exit: args.exit_rule(model.config.exit()),
        n_ctx: n_ctx(args.ctx, model)?,
    };
    let engine = Engine::on_host(model, &options)?;
    Ok((engine, "cpu (plain Rust reference)".to_string()))
}
