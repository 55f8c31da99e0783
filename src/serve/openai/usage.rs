//! The usage of a request.

use serde_json::{Value, json};

use crate::engine::DraftCounts;
use crate::generate::Exits;

/// Tokens and cycles of all texts of a request.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// Each prompt once, however many texts it has.
    pub n_prompt: usize,
    /// Tokens of prompts that were cached, of the prompts' first texts.
    pub n_cached: usize,
    pub n_generated: usize,
    pub exits: Exits,
    /// How guesses turned out; `None` where none were made.
    pub drafts: Option<DraftCounts>,
}

impl Usage {
    /// OpenAI's object, with one field of our own, `ztt`.
    pub fn json(&self) -> Value {
        let mut usage = json!({
            "prompt_tokens": self.n_prompt,
            "completion_tokens": self.n_generated,
            "total_tokens": self.n_prompt + self.n_generated,
            "prompt_tokens_details": {"cached_tokens": self.n_cached},
            "ztt": {"mean_cycles": self.exits.mean_cycles(), "exits": self.exits},
        });
        if let Some(drafts) = &self.drafts {
            usage["ztt"]["drafts"] = drafts.json();
        }
        usage
    }
}
