//! Arguments and code of both `perplexity` and `calibrate`: the text to score, how it is run, and
//! how far they are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use indicatif::ProgressBar;

use super::args::{DeviceArgs, RuleArgs, at_least_one};
use super::{progress, prompt, scores, setup};
use crate::engine::{Drafts, Logits, Options};
use crate::error::Error;
use crate::model::Model;
use crate::schedule::Walk;

/// Which text.
#[derive(clap::Args)]
pub struct TextArgs {
    /// The text; `-` reads standard input. One line break at its end is dropped
    #[arg(short, long, help_heading = "Text")]
    pub file: PathBuf,

    /// Take only the first N tokens
    #[arg(long, value_name = "N", value_parser = at_least_one, help_heading = "Text")]
    pub limit: Option<usize>,

    /// Tokens of a window, each half a window after the one before
    /// [default: the model's maximum, at most 4096]
    #[arg(long, value_name = "N", value_parser = at_least_one, env = "ZTT_CTX",
          help_heading = "Text")]
    pub ctx: Option<usize>,
}

impl TextArgs {
    /// The name of the text in messages.
    pub fn name(&self) -> String {
        match self.is_stdin() {
            true => "standard input".to_string(),
            false => self.file.display().to_string(),
        }
    }

    fn is_stdin(&self) -> bool {
        self.file == Path::new("-")
    }

    /// The tokens of the text, at least `least`.
    pub fn tokens(&self, model: &Model, least: usize) -> Result<Vec<u32>> {
        let tokenizer = model.tokenizer()?;
        setup::warn(tokenizer.warnings());
        let text = match self.is_stdin() {
            true => prompt::text(None, Some("-"), false)?,
            false => prompt::text(Some(&self.file), None, false)?,
        };
        let text = text.unwrap_or_default();
        let ids = match self.limit {
            Some(limit) => {
                let mut ids = tokenizer.encode_first(&text, limit)?;
                ids.truncate(limit);
                ids
            }
            None => tokenizer
                .encode(&text)
                .with_context(|| format!("`{}`, of which `--limit` takes a part", self.name()))?,
        };
        model.check_ids(&ids)?;
        if ids.len() < least {
            let found = ids.len();
            let short = Error::TooFewTokens { least, found };
            return Err(short).with_context(|| format!("`{}`", self.name()));
        }
        Ok(ids)
    }
}

/// The options that all settings of a sweep start from. Fails where the flags do not fit the model.
pub fn options(
    text: &TextArgs,
    cycles: Option<usize>,
    rule: &RuleArgs,
    device: &DeviceArgs,
    model: &Model,
) -> Result<Options> {
    scores::check_reduce(rule, model)?;
    let exit = rule.over(model.config.exit());
    Walk::new(&model.config, cycles, &exit)?;
    Ok(Options {
        cap: cycles,
        exit,
        n_sequences: 1,
        n_ctx: setup::n_ctx(text.ctx, model)?,
        kv_type: device.kv_type,
        logits: Logits::All,
        drafts: Drafts::NONE,
    })
}

/// Positions run, on a terminal; `total` is `None` where it is not known.
pub fn bar(total: Option<usize>) -> ProgressBar {
    let (bar, template) = match total {
        Some(n) => (
            ProgressBar::new(n as u64),
            "{bar:30} {pos} of {len} positions, {eta} left",
        ),
        None => (
            ProgressBar::no_length(),
            "{spinner} {pos} positions, {elapsed}",
        ),
    };
    progress::styled(bar, template)
}
