//! Quality against compute: one text at many settings.

use super::figures::Figures;
use super::score::{Evaluation, evaluate};
use crate::engine::{Engine, Options};
use crate::error::Result;
use crate::model::config::{ExitRule, KvPolicy};

/// How deep a model runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Setting {
    /// Every position runs this many cycles.
    Depth(usize),
    /// Each position exits by its own score.
    Exit { threshold: f64, kv: KvPolicy },
}

impl Setting {
    /// `base` with this setting put over it.
    pub fn options(self, base: &Options) -> Options {
        let (cap, threshold, kv) = match self {
            Setting::Depth(cycles) => (Some(cycles), None, base.exit.kv),
            Setting::Exit { threshold, kv } => (base.cap, Some(threshold), kv),
        };
        Options {
            cap,
            exit: ExitRule {
                threshold,
                kv,
                ..base.exit.clone()
            },
            ..base.clone()
        }
    }
}

/// Depths 1 to `n_cycles`, then every threshold with every policy.
pub fn settings(n_cycles: usize, thresholds: &[f64], policies: &[KvPolicy]) -> Vec<Setting> {
    let exits = policies.iter().flat_map(|&kv| {
        let exit = move |&threshold: &f64| Setting::Exit { threshold, kv };
        thresholds.iter().map(exit)
    });
    (1..=n_cycles).map(Setting::Depth).chain(exits).collect()
}

/// One text, and the way to make an engine for a setting.
pub struct Trials<'t, 'm> {
    /// At least two tokens.
    pub ids: &'t [u32],
    /// Options that every setting is put over; made for the logits of all positions.
    pub base: &'t Options,
    /// Makes an engine.
    pub start: &'t dyn Fn(&Options) -> Result<Engine<'m>>,
    /// Gets the positions run since it was last called.
    pub progress: &'t dyn Fn(usize),
}

impl Trials<'_, '_> {
    /// Scores the text at one setting.
    ///
    /// # Errors
    /// Those of making an engine, and of [`evaluate`].
    pub async fn run(&self, setting: Setting) -> Result<Evaluation> {
        let mut engine = (self.start)(&setting.options(self.base))?;
        evaluate(&mut engine, self.ids, self.progress).await
    }

    /// Scores the text at full depth, `n_cycles`, and then at each of `settings` in turn: a row
    /// for each, compared with full depth.
    ///
    /// # Errors
    /// Those of [`Trials::run`].
    pub async fn sweep(
        &self,
        n_cycles: usize,
        settings: &[Setting],
    ) -> Result<Vec<(Setting, Figures)>> {
        let full_depth = Setting::Depth(n_cycles);
        let full = self.run(full_depth).await?;
        let mut rows = Vec::with_capacity(settings.len());
        for &setting in settings {
            let figures = match setting == full_depth {
                true => Figures::new(&full, &full),
                false => Figures::new(&self.run(setting).await?, &full),
            };
            rows.push((setting, figures));
        }
        Ok(rows)
    }
}
