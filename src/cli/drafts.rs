//! Arguments of `run`, `chat`, `serve` and `bench`: tokens that are guessed before they are drawn.

use crate::engine::{DraftDepth, Drafts};
use crate::error::{Error, Result};

/// Where guesses come from.
#[derive(clap::Args)]
pub struct DraftArgs {
    /// Guess tokens from what came before in the text, and verify several in a pass: the same text,
    /// sooner where it repeats
    #[arg(long, help_heading = "Drafts")]
    draft_ngram: bool,

    /// Guess tokens by the model's first C cycles, and verify several by the others: the same text,
    /// sooner where those agree. With --draft-ngram, where the text does not repeat
    #[arg(
        long,
        value_name = "C",
        conflicts_with = "draft_layers",
        help_heading = "Drafts"
    )]
    draft_cycles: Option<usize>,

    /// The same by the first L layers of a model that runs each layer once and was trained for it
    #[arg(long, value_name = "L", help_heading = "Drafts")]
    draft_layers: Option<usize>,

    /// Guess this many tokens at a time, 7 at most [default: as many as pay off]
    #[arg(long, value_name = "N", help_heading = "Drafts")]
    draft_tokens: Option<usize>,
}

impl DraftArgs {
    /// # Errors
    /// [`Error::Option`] for a number of guesses where nothing is guessed.
    pub fn drafts(&self) -> Result<Drafts> {
        let drafts = Drafts {
            ngrams: self.draft_ngram,
            depth: match (self.draft_cycles, self.draft_layers) {
                (Some(n), _) => Some(DraftDepth::Cycles(n)),
                (None, n) => n.map(DraftDepth::Layers),
            },
            tokens: self.draft_tokens,
        };
        match self.draft_tokens {
            Some(n) if !drafts.any() => Err(Error::Option {
                option: "--draft-tokens",
                expected: "`--draft-ngram`, `--draft-cycles` or `--draft-layers` beside it"
                    .to_string(),
                found: format!("{n} alone"),
            }),
            _ => Ok(drafts),
        }
    }
}
