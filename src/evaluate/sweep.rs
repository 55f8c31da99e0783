//! Quality against compute: one text at many settings.

use std::cell::RefCell;

use super::figures::Figures;
use super::score::{Evaluation, evaluate};
use crate::engine::{Engine, Options};
use crate::error::Result;
use crate::model::config::KvPolicy;
use crate::schedule::{Rule, TextRules};

/// How deep a model runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Setting {
    /// Every position runs this many cycles.
    Depth(usize),
    /// Each position exits by its own score.
    Exit { threshold: f64, kv: KvPolicy },
}

impl Setting {
    /// Where keys and values of skipped cycles come from, unless it makes no difference.
    fn kv(self) -> Option<KvPolicy> {
        match self {
            Setting::Depth(_) => None,
            Setting::Exit { kv, .. } => Some(kv),
        }
    }

    /// The rule of what is predicted.
    fn rule(self, base: &Options) -> Rule {
        match self {
            Setting::Depth(max_cycles) => Rule {
                max_cycles,
                ..Rule::FULL_DEPTH
            },
            Setting::Exit { threshold, .. } => Rule {
                threshold: Some(threshold),
                min_cycles: base.exit.min_cycles,
                ..Rule::FULL_DEPTH
            },
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

/// One text, and the engine that runs it at every setting.
#[derive(Clone, Copy)]
pub struct Trials<'t, 'm> {
    /// At least two tokens.
    pub ids: &'t [u32],
    /// Options that every setting is put over; made for the logits of all positions.
    pub base: &'t Options,
    /// Makes the engine.
    pub start: &'t dyn Fn(&Options) -> Result<Engine<'m>>,
    /// Gets the positions run since it was last called.
    pub progress: &'t dyn Fn(usize),
    /// The engine of all settings, once there is one.
    pub engine: &'t RefCell<Option<Engine<'m>>>,
}

impl Trials<'_, '_> {
    /// Scores the text at one setting.
    ///
    /// # Errors
    /// Those of making an engine, and of [`evaluate`].
    pub async fn run(&self, setting: Setting) -> Result<Evaluation> {
        let mut engine = match self.engine.take() {
            Some(engine) => engine,
            None => (self.start)(self.base)?,
        };
        engine.truncate(0);
        engine.set_rules(TextRules {
            drawn: setting.rule(self.base),
            ..engine.rules()
        });
        engine.set_kv_policy(setting.kv().unwrap_or(self.base.exit.kv));
        let evaluation = evaluate(&mut engine, self.ids, self.progress).await?;
        self.engine.replace(Some(engine));
        Ok(evaluation)
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
