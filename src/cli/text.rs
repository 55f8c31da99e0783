//! What `perplexity` and `calibrate` share: the text to score, and how far they are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

use super::args::at_least_one;
use super::prompt;
use crate::error::Error;
use crate::model::Model;

/// Which text.
#[derive(clap::Args)]
pub struct TextArgs {
    /// The text; `-` reads standard input. One line break at its end is dropped
    #[arg(short, long)]
    pub file: PathBuf,

    /// Take only the first N tokens
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub limit: Option<usize>,
}

impl TextArgs {
    /// What the user calls the text.
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
        let text = match self.is_stdin() {
            true => prompt::text(None, Some("-"), false)?,
            false => prompt::text(Some(&self.file), None, false)?,
        };
        let mut ids = tokenizer.encode(&text.unwrap_or_default())?;
        ids.truncate(self.limit.unwrap_or(usize::MAX));
        model.check_ids(&ids)?;
        if ids.len() < least {
            let found = ids.len();
            let short = Error::TooFewTokens { least, found };
            return Err(short).with_context(|| format!("`{}`", self.name()));
        }
        Ok(ids)
    }
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
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
