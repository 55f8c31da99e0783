//! `bench --drafts`: what guesses gain on a text.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use super::drafts::DraftArgs;
use super::{output, prompt, setup};
use crate::engine::sampling::SamplingOptions;
use crate::engine::{Drafts, Logits, Options};
use crate::measure::drafts::{DraftGain, DraftTest, draft_gain};
use crate::measure::formats::Format;
use crate::measure::models::{Subject, Test};

/// Tokens of a prompt, where none are asked for.
const N_PROMPT: usize = 64;

/// What is measured besides the model.
pub struct OnText<'a> {
    /// The text.
    pub file: &'a Path,
    pub drafts: Drafts,
    /// How the model runs; the lengths are those of a prompt and of what follows it.
    pub test: Test,
    pub repetitions: usize,
    pub format: Format,
}

impl<'a> OnText<'a> {
    /// # Errors
    /// Where nothing is to be guessed.
    pub fn new(
        file: &'a Path,
        drafts: &DraftArgs,
        test: Test,
        repetitions: usize,
        format: Format,
    ) -> Result<Self> {
        let drafts = drafts.drafts()?;
        anyhow::ensure!(
            drafts.any(),
            "--drafts: expected `--draft-ngram`, `--draft-cycles` or `--draft-layers` beside it, \
             found none"
        );
        Ok(Self {
            file,
            drafts,
            test,
            repetitions,
            format,
        })
    }

    /// Measures a model on the text, greedy and at the default samplers, and prints both.
    pub fn measure(&self, subject: &Subject<'_>) -> Result<()> {
        let model = subject.model;
        let text = prompt::text(Some(self.file), None, false)?.unwrap_or_default();
        let tokenizer = model.tokenizer()?;
        setup::warn(tokenizer.warnings());
        let ids = tokenizer.encode(&text)?;
        model.check_ids(&ids)?;
        let n_prompt = match self.test.n_prompt {
            0 => N_PROMPT,
            n => n,
        };
        let n_gen = self.test.n_gen.max(2);
        let options = Options {
            cap: self.test.cap,
            exit: self.test.exit.clone(),
            n_ctx: n_prompt + n_gen,
            kv_type: self.test.kv_type,
            logits: Logits::Last,
            drafts: self.drafts,
            ..Options::of(model)
        };
        let default = SamplingOptions::default();
        for temperature in [0.0, default.temperature] {
            let test = DraftTest {
                options: options.clone(),
                sampling: SamplingOptions {
                    temperature,
                    ..default.clone()
                },
                n_prompt,
                n_gen,
                repetitions: self.repetitions,
            };
            let gain = draft_gain(model, &subject.place, &test, &ids)
                .with_context(|| format!("`{}`", self.file.display()))?;
            self.print(&subject.name, &test, &gain)?;
        }
        Ok(())
    }

    fn print(&self, name: &str, test: &DraftTest, gain: &DraftGain) -> Result<()> {
        if matches!(self.format, Format::Json | Format::JsonLines) {
            let line = json!({
                "model": name,
                "text": self.file.display().to_string(),
                "n_prompt": test.n_prompt,
                "n_gen": test.n_gen,
                "temperature": test.sampling.temperature,
                "tokens_per_second": gain.plain.median,
                "tokens_per_second_with_drafts": gain.drafted.median,
                "speed_up": gain.speed_up(),
                "predicted_speed_up": gain.predicted(),
                "draft_share": gain.share,
                "drafts": gain.counts.json(),
            });
            return output::json_line(&mut output::stdout(), &line);
        }
        let (drafted, accepted) = gain.counts.totals();
        output::for_people(&format!(
            "{name}, tg{} after {} tokens of {}, temperature {}\n\
             {:.1} tokens/s, {:.1} with guesses: {:.2} times, {:.2} predicted\n\
             {accepted} of {drafted} guesses kept, {:.2} tokens a pass\n\n",
            test.n_gen,
            test.n_prompt,
            self.file.display(),
            test.sampling.temperature,
            gain.plain.median,
            gain.drafted.median,
            gain.speed_up(),
            gain.predicted(),
            gain.counts.tokens_a_pass(),
        ))
    }
}
