//! The exit threshold with the least compute whose loss stays within a bound.
//!
//! It is chosen on the first half of a text and tried on the second, which it has not seen.

use super::figures::Figures;
use super::score::Evaluation;
use super::sweep::{Setting, Trials};
use crate::error::{Error, Result};
use crate::model::config::KvPolicy;

/// The fewest tokens that have two halves to score.
pub const LEAST_TOKENS: usize = 4;

/// The conditions that a chosen threshold must meet.
#[derive(Clone, Debug)]
pub struct Bound<'a> {
    /// Cycles of full depth.
    pub n_cycles: usize,
    /// The policies to try for the keys and values of skipped cycles.
    pub policies: &'a [KvPolicy],
    /// By how much the perplexity may rise over that of full depth, in percent.
    pub max_rise_percent: f64,
}

/// The chosen threshold and policy, and the figures of both halves of the text.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    pub threshold: f64,
    pub kv: KvPolicy,
    /// The half that it was chosen on.
    pub first: Half,
    /// The half that it had not seen.
    pub second: Half,
}

/// One half of the text.
#[derive(Clone, Debug, PartialEq)]
pub struct Half {
    pub full: Figures,
    pub choice: Figures,
}

impl Half {
    /// How much higher the perplexity is than at full depth, in percent.
    pub fn rise_percent(&self) -> f64 {
        self.choice.rise_percent(&self.full)
    }
}

/// Calibrates on the text of `trials`. `None` where no threshold that saves a cycle keeps the
/// bound.
///
/// # Errors
/// [`Error::TooFewTokens`] below [`LEAST_TOKENS`], and those of [`Trials::run`].
pub async fn calibrate(trials: &Trials<'_, '_>, bound: &Bound<'_>) -> Result<Option<Calibration>> {
    let found = trials.ids.len();
    if found < LEAST_TOKENS {
        let least = LEAST_TOKENS;
        return Err(Error::TooFewTokens { least, found });
    }
    let (first, second) = trials.ids.split_at(found / 2);
    let first = Trials {
        ids: first,
        ..*trials
    };
    let second = Trials {
        ids: second,
        ..*trials
    };
    let full_depth = Setting::Depth(bound.n_cycles);
    let search = Search {
        full: &first.run(full_depth).await?,
        trials: first,
        bound,
    };
    let Some(choice) = search.best().await? else {
        return Ok(None);
    };
    let full = second.run(full_depth).await?;
    let (threshold, kv) = (choice.threshold, choice.kv);
    let early = second.run(Setting::Exit { threshold, kv }).await?;
    Ok(Some(Calibration {
        threshold,
        kv,
        first: Half {
            full: search.full(),
            choice: choice.figures,
        },
        second: Half {
            full: Figures::new(&full, &full),
            choice: Figures::new(&early, &full),
        },
    }))
}

/// A threshold that keeps the bound.
struct Choice {
    threshold: f64,
    kv: KvPolicy,
    figures: Figures,
}

struct Search<'s, 't, 'm> {
    trials: Trials<'t, 'm>,
    /// The text at full depth.
    full: &'s Evaluation,
    bound: &'s Bound<'s>,
}

impl Search<'_, '_, '_> {
    fn full(&self) -> Figures {
        Figures::new(self.full, self.full)
    }

    /// The choice of the fewest mean cycles; of equals, that of the lowest perplexity.
    async fn best(&self) -> Result<Option<Choice>> {
        let mut choices = Vec::new();
        for &kv in self.bound.policies {
            choices.extend(self.lowest(kv).await?);
        }
        Ok(choices.into_iter().min_by(|a, b| {
            let (a, b) = (&a.figures, &b.figures);
            let by_cycles = a.mean_cycles.total_cmp(&b.mean_cycles);
            by_cycles.then(a.nats.total_cmp(&b.nats))
        }))
    }

    /// The lowest tenth that keeps the bound, and then the lowest hundredth below it that does. At
    /// a lower threshold positions exit earlier, so it costs less and is tried first.
    async fn lowest(&self, kv: KvPolicy) -> Result<Option<Choice>> {
        let tenth = self.first_within((0..100).step_by(10), kv).await?;
        // At 1 no position exits early, which need not be tried.
        let edge = tenth.as_ref().map_or(100, |(hundredths, _)| *hundredths);
        let finer = self.first_within((edge - 9).max(0)..edge, kv).await?;
        let (_, choice) = match finer.or(tenth) {
            Some(found) => found,
            None => return Ok(None),
        };
        let saves = choice.figures.mean_cycles < self.full().mean_cycles;
        Ok(saves.then_some(choice))
    }

    /// The first of some thresholds, in hundredths, that keeps the bound.
    async fn first_within(
        &self,
        hundredths: impl Iterator<Item = i32>,
        kv: KvPolicy,
    ) -> Result<Option<(i32, Choice)>> {
        let full = self.full();
        for hundredths in hundredths {
            let threshold = f64::from(hundredths) / 100.0;
            let evaluation = self.trials.run(Setting::Exit { threshold, kv }).await?;
            let figures = Figures::new(&evaluation, self.full);
            if figures.rise_percent(&full) <= self.bound.max_rise_percent {
                let choice = Choice {
                    threshold,
                    kv,
                    figures,
                };
                return Ok(Some((hundredths, choice)));
            }
        }
        Ok(None)
    }
}
