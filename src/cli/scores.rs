//! Flags of the exit rule that only models whose cycles have scores can follow.

use super::args::{EngineArgs, RuleArgs};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::model::loops::ScoreSource;

/// Refuses `option` for a model whose cycles have no scores.
pub fn check(option: &'static str, model: &Model) -> Result<()> {
    match model.config.score {
        Some(_) => Ok(()),
        None => Err(Error::Option {
            option,
            expected: "a model with scores to exit by".to_string(),
            found: format!("`{}` without", model.name),
        }),
    }
}

/// Refuses a threshold where there are no scores, and what [`check_reduce`] refuses.
pub fn check_flags(args: &EngineArgs, model: &Model) -> Result<()> {
    if args.exit_threshold.is_some() {
        check("--exit-threshold", model)?;
    }
    check_reduce(&args.rule, model)
}

/// Refuses a way in which scores of layers become one where scores are not of layers.
pub fn check_reduce(rule: &RuleArgs, model: &Model) -> Result<()> {
    const OPTION: &str = "--exit-reduce";
    if rule.exit_reduce.is_none() {
        return Ok(());
    }
    match model.config.score {
        None => check(OPTION, model),
        Some(ScoreSource::ZeroAttention) => Ok(()),
        Some(source @ ScoreSource::Gate) => Err(Error::Option {
            option: OPTION,
            expected: "a model whose layers have scores".to_string(),
            found: format!(
                "`{}`, whose cycles have that of a {}",
                model.name,
                source.name()
            ),
        }),
    }
}
