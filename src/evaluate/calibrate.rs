//! The exit threshold with the least compute whose loss stays within a bound.

use super::figures::Figures;
use super::score::Evaluation;
use super::sweep::{Setting, Trials};
use crate::engine::{Engine, Options};
use crate::error::Result;
use crate::model::config::KvPolicy;

/// A threshold that keeps the bound, and what it comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    pub threshold: f64,
    pub kv: KvPolicy,
    pub figures: Figures,
}

/// Searches thresholds for one text.
pub struct Search<'s, 't, S> {
    pub trials: &'s mut Trials<'t, S>,
    /// The text at full depth.
    pub full: &'s Evaluation,
    /// By how much the perplexity may rise over that of full depth, in percent.
    pub max_rise_percent: f64,
}

impl<'m, S: FnMut(&Options) -> Result<Engine<'m>>> Search<'_, '_, S> {
    /// The choice with the fewest mean cycles over all `policies`; of equals the one of lower
    /// perplexity. `None` where no threshold that saves a cycle keeps the bound.
    ///
    /// # Errors
    /// Those of [`Trials::run`].
    pub async fn best(&mut self, policies: &[KvPolicy]) -> Result<Option<Choice>> {
        let mut choices = Vec::new();
        for &kv in policies {
            choices.extend(self.lowest(kv).await?);
        }
        let compute = |c: &Choice| (c.figures.mean_cycles, c.figures.nats);
        Ok(choices.into_iter().min_by(|a, b| {
            let ((cycles_a, nats_a), (cycles_b, nats_b)) = (compute(a), compute(b));
            cycles_a
                .total_cmp(&cycles_b)
                .then(nats_a.total_cmp(&nats_b))
        }))
    }

    /// The lowest tenth that keeps the bound, and then the lowest hundredth below it that does. A
    /// lower threshold leaves earlier, so it costs less and is tried first.
    async fn lowest(&mut self, kv: KvPolicy) -> Result<Option<Choice>> {
        let full = Figures::new(self.full, self.full);
        // At 1 nothing leaves, so that need not be tried.
        let (mut edge, mut found) = (100, None);
        for hundredths in (0..100).step_by(10) {
            found = self.within(hundredths, kv, &full).await?;
            if found.is_some() {
                edge = hundredths;
                break;
            }
        }
        for hundredths in (edge - 9).max(0)..edge {
            if let Some(choice) = self.within(hundredths, kv, &full).await? {
                found = Some(choice);
                break;
            }
        }
        Ok(found.filter(|c| c.figures.mean_cycles < full.mean_cycles))
    }

    /// The choice of a threshold, where it keeps the bound.
    async fn within(
        &mut self,
        hundredths: i32,
        kv: KvPolicy,
        full: &Figures,
    ) -> Result<Option<Choice>> {
        let threshold = f64::from(hundredths) / 100.0;
        let evaluation = self.trials.run(Setting::Exit { threshold, kv }).await?;
        let figures = Figures::new(&evaluation, self.full);
        let choice = Choice {
            threshold,
            kv,
            figures,
        };
        let rise = choice.figures.rise_percent(full);
        Ok((rise <= self.max_rise_percent).then_some(choice))
    }
}
