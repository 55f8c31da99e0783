//! The walk cut for drafts by depth: what a draft runs, and what its verification runs.

use std::ops::Range;

use super::{DraftDepth, Drafts, pace};
use crate::error::{Error, Result};
use crate::model::config::Config;
use crate::schedule::{Step, TextRules, Walk};

/// Steps of the walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cuts {
    /// The first steps. The residual stream that they leave is kept.
    pub begin: Range<usize>,
    /// What follows the last cycle: a draft runs it on a copy of the stream, before its logits.
    pub tail: Range<usize>,
    /// What a verification runs on the streams that were kept.
    pub rest: Range<usize>,
}

impl Cuts {
    /// `None` where nothing is drafted by depth.
    ///
    /// # Errors
    /// [`Error::Option`] for a depth that the walk does not have, and where texts may leave the
    /// cycles by `rules`.
    pub fn of(drafts: &Drafts, walk: &Walk, rules: &TextRules) -> Result<Option<Self>> {
        let Some(depth) = drafts.depth else {
            return Ok(None);
        };
        let n_steps = walk.steps.len();
        let cycle_ends = walk.steps.iter().enumerate();
        let cycle_ends = cycle_ends.filter(|(_, step)| matches!(step, Step::CycleEnd { .. }));
        let cycle_ends: Vec<usize> = cycle_ends.map(|(i, _)| i + 1).collect();
        // The steps after which a draft may end, the shallowest first, and the tail begins.
        let (ends, n): (Vec<usize>, usize) = match depth {
            DraftDepth::Cycles(n) => (cycle_ends, n),
            DraftDepth::Layers(n) if cycle_ends.is_empty() => ((1..=n_steps).collect(), n),
            DraftDepth::Layers(n) => {
                return Err(Error::Option {
                    option: depth.option(),
                    expected: "a model that runs each layer once (`--draft-cycles` is for others)"
                        .to_string(),
                    found: format!("{n} of one with cycles"),
                });
            }
        };
        let Some((&last, shallower)) = ends.split_last().filter(|(_, s)| !s.is_empty()) else {
            return Err(Error::Option {
                option: depth.option(),
                expected: "a model that runs two cycles at least (`--draft-layers` is for others)"
                    .to_string(),
                found: format!("{n} of {}", walk.n_cycles),
            });
        };
        let Some(&end) = n.checked_sub(1).and_then(|i| shallower.get(i)) else {
            return Err(Error::Option {
                option: depth.option(),
                expected: format!("1 to {}, less than the whole model", shallower.len()),
                found: n.to_string(),
            });
        };
        if rules.drawn.may_leave(walk.n_cycles) {
            return Err(Error::Option {
                option: depth.option(),
                expected: "texts that run every cycle (`--no-exit`)".to_string(),
                found: "tokens that may leave the cycles".to_string(),
            });
        }
        Ok(Some(Self {
            begin: 0..end,
            tail: last..n_steps,
            rest: end..n_steps,
        }))
    }

    /// Weights that a guess reads and weights that its verification reads, each as a part of those
    /// that a pass reads.
    pub fn shares(&self, walk: &Walk, config: &Config) -> (f64, f64) {
        let layer = 2 * config.q_dim() + 2 * config.kv_dim() + 3 * config.intermediate;
        let bytes = |steps: &[Step]| {
            let is_layer = |step: &&Step| matches!(step, Step::Layer(_));
            (layer * steps.iter().filter(is_layer).count()) as f64
        };
        let head = config.vocab as f64;
        let steps = |range: &Range<usize>| bytes(&walk.steps[range.clone()]);
        let whole = bytes(&walk.steps) + head;
        let draft = (steps(&self.begin) + steps(&self.tail) + head) / whole;
        let verified = (steps(&self.rest) + head) / whole;
        (draft, verified)
    }

    /// What a guess costs, as a part of a pass over one row: the weights that it reads, and its row
    /// in the verification.
    pub fn cost(&self, walk: &Walk, config: &Config) -> f64 {
        let (draft, verified) = self.shares(walk, config);
        draft + pace::ROW_COST * verified
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::ExitRule;

    fn walk(fields: &str) -> (Walk, TextRules) {
        let text = format!(
            r#"{{{fields},"hidden_size":8,"num_hidden_layers":5,"num_attention_heads":2,
                "vocab_size":4}}"#
        );
        let config = Config::parse("config.json", &text).unwrap();
        let exit = ExitRule::default();
        let walk = Walk::new(&config, None, &exit).unwrap();
        let rules = walk.rules(&exit);
        (walk, rules)
    }

    fn cuts(fields: &str, depth: DraftDepth) -> Result<Option<Cuts>> {
        let (walk, rules) = walk(fields);
        let drafts = Drafts {
            depth: Some(depth),
            ..Drafts::NONE
        };
        Cuts::of(&drafts, &walk, &rules)
    }

    const ZTT: &str = r#""model_type":"ztt","base_model_type":"llama",
        "ztt":{"head_layers":1,"tail_layers":2,"cycles":3}"#;
    const PLAIN: &str = r#""model_type":"llama""#;

    #[test]
    fn a_draft_runs_the_first_cycles_and_the_tail() {
        // A head layer, three cycles of two layers, each with its end, and two tail layers.
        for (n, end) in [(1, 4), (2, 7)] {
            let found = cuts(ZTT, DraftDepth::Cycles(n)).unwrap().unwrap();
            let expected = Cuts {
                begin: 0..end,
                tail: 10..12,
                rest: end..12,
            };
            assert_eq!(found, expected);
        }
        for n in [0, 3] {
            let error = cuts(ZTT, DraftDepth::Cycles(n)).unwrap_err().to_string();
            assert!(error.contains("--draft-cycles") && error.contains("1 to 2"));
        }
        let error = cuts(ZTT, DraftDepth::Layers(1)).unwrap_err().to_string();
        assert!(error.contains("--draft-layers"), "{error}");
    }

    #[test]
    fn a_draft_of_a_plain_model_runs_its_first_layers() {
        let found = cuts(PLAIN, DraftDepth::Layers(2)).unwrap().unwrap();
        let expected = Cuts {
            begin: 0..2,
            tail: 5..5,
            rest: 2..5,
        };
        assert_eq!(found, expected);
        for n in [0, 5] {
            let error = cuts(PLAIN, DraftDepth::Layers(n)).unwrap_err().to_string();
            assert!(error.contains("1 to 4"), "{error}");
        }
        let error = cuts(PLAIN, DraftDepth::Cycles(1)).unwrap_err().to_string();
        assert!(error.contains("--draft-cycles"), "{error}");
    }

    #[test]
    fn texts_that_may_leave_the_cycles_are_not_drafted_by_depth() {
        let (walk, mut rules) = walk(ZTT);
        rules.drawn.threshold = Some(0.5);
        let drafts = Drafts {
            depth: Some(DraftDepth::Cycles(1)),
            ..Drafts::NONE
        };
        let error = Cuts::of(&drafts, &walk, &rules).unwrap_err().to_string();
        assert!(error.contains("--no-exit"), "{error}");
        assert_eq!(Cuts::of(&Drafts::NONE, &walk, &rules).unwrap(), None);
    }
}
