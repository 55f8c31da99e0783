//! The order in which layers run, and when a position leaves it: pure arithmetic on the config.
//!
//! A model with head layers `h`, middle layers `m`, tail layers `t` and `N` cycles runs
//! `h + N m + t` effective layers. Running only `C` of the cycles leaves out the middle of the
//! walk; the layers that remain keep the numbers of the stored model, and so their pool rows.

use crate::error::{Error, Result};
use crate::model::config::{Config, ExitRule, KvPolicy, Reduce, ZeroTokenIndex, ZeroTokenScope};
use crate::model::loops::ScoreSource;

/// Which part of the walk an effective layer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Head,
    /// Middle layer `j` in cycle `cycle`.
    Middle {
        cycle: usize,
        j: usize,
    },
    Tail,
}

/// One effective layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EffectiveLayer {
    /// Number of the effective layer, counted in the stored model.
    pub e: usize,
    pub part: Part,
    /// Parameter layer whose weights it uses.
    pub layer: usize,
    /// Row of the zero-token pool, or `None` where it has no zero token.
    pub pool_row: Option<usize>,
}

impl EffectiveLayer {
    /// The cycle whose keys and values it reads and writes: 0 outside the middle.
    pub fn cycle(&self) -> usize {
        match self.part {
            Part::Middle { cycle, .. } => cycle,
            _ => 0,
        }
    }

    /// Whether it is of a cycle that a position of `n_run` cycles skips.
    pub fn is_skipped_after(&self, n_run: usize) -> bool {
        matches!(self.part, Part::Middle { cycle, .. } if cycle >= n_run)
    }
}

/// One step of the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Layer(EffectiveLayer),
    /// The end of a cycle: the cycle gets its score, and positions may leave.
    CycleEnd {
        cycle: usize,
        /// The final norm of the residual stream replaces it.
        norm: bool,
    },
}

/// What the score of a cycle is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    /// The zero attention of the cycle's layers.
    ZeroAttention(Reduce),
    /// A learned gate on the residual stream at the end of each cycle: the chance that it has let
    /// the position leave by now, and 1 at the position's last cycle.
    Gate,
}

impl Score {
    /// Whether tokens of a prompt may exit where nothing else is asked for.
    pub fn exits_in_prompts(self) -> bool {
        match self {
            Score::ZeroAttention(_) => true,
            // Keys and values of skipped cycles in the prompt cost a gated model much.
            Score::Gate => false,
        }
    }

    /// The threshold of rows that are asked to leave at `asked`.
    pub fn threshold(self, asked: Option<f64>) -> Option<f64> {
        let source = match self {
            Score::ZeroAttention(_) => ScoreSource::ZeroAttention,
            Score::Gate => ScoreSource::Gate,
        };
        source.threshold(asked)
    }
}

/// The walk of one forward pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Walk {
    pub steps: Vec<Step>,
    /// `C`: cycles that run at most. 1 in a plain checkpoint, which has no cycles to skip.
    pub n_cycles: usize,
    /// `None`: cycles have no scores.
    pub score: Option<Score>,
    /// Keys and values of the cycles that a position skips.
    pub kv: KvPolicy,
    /// The residual stream is normed before the output projection.
    pub final_norm: bool,
}

/// When a position leaves the cycles: data of each row of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// It leaves on a score of at least this; `None`: on no score.
    pub threshold: Option<f64>,
    /// It does not leave on a score before it ran this many cycles.
    pub min_cycles: usize,
    /// It leaves after this many cycles in any case, and has no keys and values in later ones.
    pub max_cycles: usize,
}

impl Rule {
    /// Every cycle runs.
    pub const FULL_DEPTH: Self = Self {
        threshold: None,
        min_cycles: 1,
        max_cycles: usize::MAX,
    };

    /// Whether a row may leave before the last of `n_cycles` cycles.
    pub fn may_leave(&self, n_cycles: usize) -> bool {
        let on_score = self.threshold.is_some() && self.min_cycles < n_cycles;
        on_score || self.max_cycles < n_cycles
    }

    /// Whether a row leaves after `n_run` cycles, of which the last one has this score.
    pub fn leaves(&self, n_run: usize, score: Option<f64>) -> bool {
        let reached = self.threshold.zip(score).is_some_and(|(t, s)| s >= t);
        n_run >= self.max_cycles || (n_run >= self.min_cycles && reached)
    }
}

/// The rules of a text: what is given as a prompt may run deeper than what is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TextRules {
    /// Of drawn tokens.
    pub drawn: Rule,
    /// Tokens of the prompt may leave on their scores, too.
    pub exit_prompt: bool,
}

impl TextRules {
    /// The rule of the tokens of a prompt.
    pub fn prompt(&self) -> Rule {
        Rule {
            threshold: self.drawn.threshold.filter(|_| self.exit_prompt),
            ..self.drawn
        }
    }
}

impl Walk {
    /// The walk of `config` with at most `cap` cycles. Of `exit` it takes how scores are made and
    /// where keys and values of skipped cycles come from.
    ///
    /// # Errors
    /// [`Error::Option`] when `cap` is 0 or above the stored cycles.
    pub fn new(config: &Config, cap: Option<usize>, exit: &ExitRule) -> Result<Self> {
        let (h, m, n) = (
            config.head_layers(),
            config.middle_layers(),
            config.cycles(),
        );
        let n_cycles = cap.unwrap_or(n);
        let most = config.most_cycles();
        if n_cycles == 0 || n_cycles > most {
            let which = match most == n {
                true => "the cycles of the model",
                false => "the most cycles of a model",
            };
            return Err(Error::Option {
                option: "--cycles",
                expected: format!("1 to {most}, {which}"),
                found: n_cycles.to_string(),
            });
        }
        let has_pool = config.score == Some(ScoreSource::ZeroAttention);
        let row = |e: usize, part: Part| -> Option<usize> {
            let pool = config.pool.filter(|_| has_pool)?;
            match (pool.index, pool.scope, part) {
                (ZeroTokenIndex::Cycle, _, Part::Middle { cycle, .. }) => Some(cycle),
                (ZeroTokenIndex::Cycle, _, _) => None,
                (_, ZeroTokenScope::All, _) => Some(e),
                (_, ZeroTokenScope::Middle, Part::Middle { .. }) => Some(e - h),
                (_, ZeroTokenScope::Middle, _) => None,
            }
        };
        let step = |e: usize, layer: usize, part: Part| {
            let pool_row = row(e, part);
            Step::Layer(EffectiveLayer {
                e,
                part,
                layer,
                pool_row,
            })
        };
        let mut steps: Vec<Step> = (0..h).map(|i| step(i, i, Part::Head)).collect();
        for cycle in 0..if m > 0 { n_cycles } else { 0 } {
            let middle = |j| step(h + cycle * m + j, h + j, Part::Middle { cycle, j });
            steps.extend((0..m).map(middle));
            let norm = config.loops.norm;
            steps.push(Step::CycleEnd { cycle, norm });
        }
        let n_stored = n.max(n_cycles);
        let tail = |k| step(h + n_stored * m + k, h + m + k, Part::Tail);
        steps.extend((0..config.tail_layers()).map(tail));
        let score = config.score.filter(|_| m > 0).map(|source| match source {
            ScoreSource::ZeroAttention => Score::ZeroAttention(exit.reduce),
            ScoreSource::Gate => Score::Gate,
        });
        Ok(Self {
            steps,
            n_cycles,
            score,
            kv: exit.kv,
            final_norm: m == 0 || !config.loops.norm || config.tail_layers() > 0,
        })
    }

    /// Whether the zero attention of the middle layers is wanted.
    pub fn scores_zero_attention(&self) -> bool {
        match self.score {
            Some(Score::ZeroAttention(_)) => true,
            Some(Score::Gate) | None => false,
        }
    }

    /// All effective layers in the order they run.
    pub fn layers(&self) -> impl Iterator<Item = &EffectiveLayer> {
        self.steps.iter().filter_map(|step| match step {
            Step::Layer(layer) => Some(layer),
            Step::CycleEnd { .. } => None,
        })
    }

    /// The effective layers of a cycle.
    pub fn cycle(&self, cycle: usize) -> impl Iterator<Item = &EffectiveLayer> {
        let of_cycle = move |layer: &&EffectiveLayer| matches!(layer.part, Part::Middle { cycle: c, .. } if c == cycle);
        self.layers().filter(of_cycle)
    }

    /// The rules of a text as `exit` asks for them.
    pub fn rules(&self, exit: &ExitRule) -> TextRules {
        let usual = self.score.is_none_or(Score::exits_in_prompts);
        TextRules {
            drawn: Rule {
                threshold: self.score.and_then(|score| score.threshold(exit.threshold)),
                min_cycles: exit.min_cycles,
                ..Rule::FULL_DEPTH
            },
            exit_prompt: exit.prompt.unwrap_or(usual),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(ztt: &str) -> Config {
        let text = format!(
            r#"{{"model_type":"ztt","base_model_type":"llama","hidden_size":8,
                "num_hidden_layers":5,"num_attention_heads":2,"vocab_size":4,"ztt":{{{ztt}}}}}"#
        );
        Config::parse("config.json", &text).unwrap()
    }

    fn walk(ztt: &str, cap: Option<usize>) -> Vec<(usize, usize, Option<usize>)> {
        let walk = Walk::new(&config(ztt), cap, &ExitRule::default()).unwrap();
        let layers = walk.layers();
        layers.map(|s| (s.e, s.layer, s.pool_row)).collect()
    }

    #[test]
    fn head_cycles_tail_in_order() {
        let z = r#""head_layers":2,"tail_layers":1,"cycles":2"#;
        assert_eq!(
            walk(z, None),
            [
                (0, 0, Some(0)),
                (1, 1, Some(1)),
                (2, 2, Some(2)),
                (3, 3, Some(3)),
                (4, 2, Some(4)),
                (5, 3, Some(5)),
                (6, 4, Some(6)),
            ]
        );
    }

    #[test]
    fn a_cap_keeps_the_stored_numbers() {
        let z = r#""head_layers":1,"tail_layers":1,"cycles":3,"zero_token_scope":"middle""#;
        let capped = walk(z, Some(1));
        assert_eq!(
            capped,
            [
                (0, 0, None),
                (1, 1, Some(0)),
                (2, 2, Some(1)),
                (3, 3, Some(2)),
                (10, 4, None),
            ]
        );
        let all = r#""head_layers":1,"tail_layers":1,"cycles":3"#;
        assert_eq!(walk(all, Some(1))[4], (10, 4, Some(10)));
    }

    #[test]
    fn a_pool_by_cycle_serves_the_middle_alone() {
        let z = r#""head_layers":0,"tail_layers":2,"cycles":2,"zero_token_index":"cycle""#;
        let rows: Vec<_> = walk(z, None).into_iter().map(|s| s.2).collect();
        let expected = [0, 0, 0, 1, 1, 1].map(Some);
        assert_eq!(rows[..6], expected);
        assert_eq!(rows[6..], [None, None]);
    }

    #[test]
    fn a_cap_outside_the_cycles_is_refused() {
        let config = config(r#""head_layers":1,"tail_layers":1,"cycles":3"#);
        for cap in [0, 4] {
            let result = Walk::new(&config, Some(cap), &ExitRule::default());
            assert!(result.unwrap_err().to_string().contains("--cycles"));
        }
    }

    #[test]
    fn a_gated_model_may_run_more_cycles_and_never_leaves_at_1() {
        let text = r#"{"model_type":"ouro","hidden_size":8,"num_hidden_layers":2,
            "num_attention_heads":2,"vocab_size":4,"total_ut_steps":3}"#;
        let config = Config::parse("config.json", text).unwrap();
        let at = |threshold| ExitRule {
            threshold: Some(threshold),
            ..config.exit()
        };
        let walk = Walk::new(&config, Some(5), &at(1.0)).unwrap();
        assert_eq!((walk.layers().count(), walk.score), (10, Some(Score::Gate)));
        assert!(!walk.final_norm);
        assert_eq!(walk.kv, KvPolicy::Share);
        assert_eq!(walk.rules(&at(1.0)).drawn.threshold, None);
        assert_eq!(walk.rules(&at(0.9)).drawn.threshold, Some(0.9));
        assert_eq!(walk.rules(&at(0.9)).prompt().threshold, None);
        assert!(Walk::new(&config, Some(65), &at(0.9)).is_err());
    }

    #[test]
    fn a_cycle_ends_after_its_layers() {
        let z = r#""head_layers":1,"tail_layers":1,"cycles":2"#;
        let walk = Walk::new(&config(z), None, &ExitRule::default()).unwrap();
        let ends = walk
            .steps
            .iter()
            .enumerate()
            .filter_map(|(i, step)| match step {
                Step::CycleEnd { cycle, .. } => Some((i, *cycle)),
                Step::Layer(_) => None,
            });
        assert_eq!(ends.collect::<Vec<_>>(), [(4, 0), (8, 1)]);
        let second: Vec<_> = walk.cycle(1).map(|layer| layer.e).collect();
        assert_eq!(second, [4, 5, 6]);
    }

    #[test]
    fn a_row_leaves_on_its_score_or_at_its_most_cycles() {
        let rule = Rule {
            threshold: Some(0.5),
            min_cycles: 2,
            max_cycles: 3,
        };
        assert!(!rule.leaves(1, Some(0.9)));
        assert!(rule.leaves(2, Some(0.5)) && !rule.leaves(2, Some(0.4)));
        assert!(rule.leaves(3, Some(0.0)) && rule.leaves(3, None) && !rule.leaves(2, None));
        assert!(rule.may_leave(4) && rule.may_leave(3) && !rule.may_leave(2));
        assert!(!Rule::FULL_DEPTH.may_leave(64));
        let rules = TextRules {
            drawn: rule,
            exit_prompt: false,
        };
        assert_eq!(rules.prompt().threshold, None);
        assert_eq!(rules.prompt().max_cycles, 3);
    }
}
