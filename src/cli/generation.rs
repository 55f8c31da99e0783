//! Arguments of `run`, `chat` and `serve`: how tokens are drawn, and when a text ends.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::args::{fraction, not_negative, repeat_penalty};
use crate::engine::sampling::SamplingOptions;
use crate::generate::StopRules;
use crate::model::Model;

#[derive(clap::Args)]
pub struct GenerationArgs {
    /// Generate at most this many tokens [default: the model's, else 256]
    #[arg(short = 'n', long, value_name = "N", help_heading = "Text")]
    max_tokens: Option<usize>,

    /// End the text before this string (may be given several times)
    #[arg(long, value_name = "TEXT", help_heading = "Text")]
    stop: Vec<String>,

    /// Go on where the model would end its text
    #[arg(long, help_heading = "Text")]
    ignore_eos: bool,

    #[command(flatten)]
    sampling: SamplingArgs,

    /// Seed of the random numbers: equal seeds give equal texts [default: random, printed]
    #[arg(long, value_name = "N", help_heading = "Sampling")]
    seed: Option<u64>,

    /// Draw tokens on the host even where the device can
    #[arg(long, help_heading = "Sampling")]
    host_sampling: bool,
}

/// How a token is drawn, but for the random numbers.
#[derive(clap::Args)]
pub struct SamplingArgs {
    /// 0 is greedy [default: the model's, else 0.8]
    #[arg(long, value_name = "T", value_parser = not_negative, allow_negative_numbers = true,
           help_heading = "Sampling")]
    temperature: Option<f64>,

    /// Keep the K likeliest tokens, 0 keeps all [default: the model's, else 40]
    #[arg(long, value_name = "K", help_heading = "Sampling")]
    top_k: Option<usize>,

    /// Keep the likeliest tokens that reach this probability together
    /// [default: the model's, else 0.95]
    #[arg(long, value_name = "P", value_parser = fraction, allow_negative_numbers = true,
           help_heading = "Sampling")]
    top_p: Option<f64>,

    /// Keep tokens at least this fraction as likely as the likeliest
    /// [default: the model's, else 0.05]
    #[arg(long, value_name = "P", value_parser = fraction, allow_negative_numbers = true,
           help_heading = "Sampling")]
    min_p: Option<f64>,

    /// Make tokens of the last 64 less likely, 1 does not [default: the model's, else 1]
    #[arg(long, value_name = "X", value_parser = repeat_penalty, allow_negative_numbers = true,
           help_heading = "Sampling")]
    repeat_penalty: Option<f64>,
}

impl SamplingArgs {
    /// Flags over what the model asks for.
    pub fn over(&self, model: &Model) -> SamplingOptions {
        let asked = SamplingOptions::of(model);
        SamplingOptions {
            temperature: self.temperature.unwrap_or(asked.temperature),
            top_k: self.top_k.unwrap_or(asked.top_k),
            top_p: self.top_p.unwrap_or(asked.top_p),
            min_p: self.min_p.unwrap_or(asked.min_p),
            repeat_penalty: self.repeat_penalty.unwrap_or(asked.repeat_penalty),
            ..asked
        }
    }
}

/// Tokens of a text at most, where it is not said: as the flag has it, else the model's own.
pub fn max_tokens(flag: Option<usize>, model: &Model) -> usize {
    flag.or(model.generation.max_tokens).unwrap_or(256)
}

impl GenerationArgs {
    /// Flags over what the model asks for.
    pub fn sampling(&self, model: &Model) -> SamplingOptions {
        SamplingOptions {
            seed: self.seed.unwrap_or_else(rand::random),
            on_host: self.host_sampling,
            ..self.sampling.over(model)
        }
    }

    /// When a text ends; `interrupt` ends it from outside.
    pub fn stop_rules(&self, model: &Model, interrupt: Arc<AtomicBool>) -> StopRules {
        let strings = self.stop.iter().filter(|s| !s.is_empty());
        let mut rules = StopRules {
            strings: strings.cloned().collect(),
            interrupt,
            ..StopRules::of(model, max_tokens(self.max_tokens, model))
        };
        if self.ignore_eos {
            rules.eos.clear();
        }
        rules
    }

    /// When an answer of a chat ends: at `turn_end`, too, the token of the chat template.
    pub fn turn_rules(
        &self,
        model: &Model,
        turn_end: Option<u32>,
        interrupt: Arc<AtomicBool>,
    ) -> StopRules {
        let mut rules = self.stop_rules(model, interrupt);
        rules.eos.extend(turn_end.filter(|_| !self.ignore_eos));
        rules
    }
}
