//! The order in which layers run: pure arithmetic on the config.
//!
//! A model with head layers `h`, middle layers `m`, tail layers `t` and `N` cycles runs
//! `h + N m + t` effective layers. Running only `C` of the cycles leaves out the middle of the
//! walk; the layers that remain keep the numbers of the stored model, and so their pool rows.

use crate::error::{Error, Result};
use crate::model::config::{Config, ExitRule, ZeroTokenIndex, ZeroTokenScope};

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
pub struct Step {
    /// Number of the effective layer, counted in the stored model.
    pub e: usize,
    pub part: Part,
    /// Parameter layer whose weights it uses.
    pub layer: usize,
    /// Row of the zero-token pool, or `None` where it has no zero token.
    pub pool_row: Option<usize>,
}

impl Step {
    /// The cycle whose keys and values it reads and writes: 0 outside the middle.
    pub fn cycle(&self) -> usize {
        match self.part {
            Part::Middle { cycle, .. } => cycle,
            _ => 0,
        }
    }
}

/// The walk of one forward pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    pub head: Vec<Step>,
    /// `[cycle][middle layer]`
    pub cycles: Vec<Vec<Step>>,
    pub tail: Vec<Step>,
    /// Middle layers have a zero token, so every cycle has a score.
    pub has_scores: bool,
    pub exit: ExitRule,
}

impl Schedule {
    /// The walk of `config` with its exit rule replaced by `exit`, and at most `cap` cycles.
    ///
    /// # Errors
    /// [`Error::Option`] when `cap` is 0 or above the stored cycles.
    pub fn new(
        config: &Config,
        has_pool: bool,
        cap: Option<usize>,
        exit: ExitRule,
    ) -> Result<Self> {
        let (h, m, n) = (
            config.head_layers(),
            config.middle_layers(),
            config.cycles(),
        );
        let n_cycles = cap.unwrap_or(n);
        if n_cycles == 0 || n_cycles > n {
            return Err(Error::Option {
                option: "--cycles",
                expected: format!("1 to {n}, the cycles of the model"),
                found: n_cycles.to_string(),
            });
        }
        let row = |e: usize, part: Part| -> Option<usize> {
            let ztt = config.ztt.as_ref().filter(|_| has_pool)?;
            match (ztt.index, ztt.scope, part) {
                (ZeroTokenIndex::Cycle, _, Part::Middle { cycle, .. }) => Some(cycle),
                (ZeroTokenIndex::Cycle, _, _) => None,
                (_, ZeroTokenScope::All, _) => Some(e),
                (_, ZeroTokenScope::Middle, Part::Middle { .. }) => Some(e - h),
                (_, ZeroTokenScope::Middle, _) => None,
            }
        };
        let step = |e: usize, layer: usize, part: Part| Step {
            e,
            part,
            layer,
            pool_row: row(e, part),
        };
        let head = (0..h).map(|i| step(i, i, Part::Head)).collect();
        let cycles = match m {
            0 => Vec::new(),
            _ => (0..n_cycles)
                .map(|cycle| {
                    (0..m)
                        .map(|j| step(h + cycle * m + j, h + j, Part::Middle { cycle, j }))
                        .collect()
                })
                .collect(),
        };
        let tail = (0..config.tail_layers())
            .map(|k| step(h + n * m + k, h + m + k, Part::Tail))
            .collect();
        Ok(Self {
            head,
            cycles,
            tail,
            has_scores: has_pool && m > 0,
            exit,
        })
    }

    /// `C`: cycles that run at most. 1 in a plain checkpoint, which has no cycles to skip.
    pub fn n_cycles(&self) -> usize {
        self.cycles.len().max(1)
    }

    /// All effective layers in the order they run.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        let cycles = self.cycles.iter().flatten();
        self.head.iter().chain(cycles).chain(&self.tail)
    }

    /// Whether any position can exit after cycle `cycle` (counted from 0).
    pub fn may_exit_after(&self, cycle: usize) -> bool {
        self.has_scores && self.exit.decides_after(cycle + 1, self.n_cycles())
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
        let schedule = Schedule::new(&config(ztt), true, cap, ExitRule::default()).unwrap();
        let steps = schedule.steps();
        steps.map(|s| (s.e, s.layer, s.pool_row)).collect()
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
            let result = Schedule::new(&config, true, Some(cap), ExitRule::default());
            assert!(result.unwrap_err().to_string().contains("--cycles"));
        }
    }
}
