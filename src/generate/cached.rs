//! Which positions of a cache a new text may use.

use crate::schedule::Rule;

/// Positions whose keys and values are in a cache, and how each was computed.
#[derive(Clone, Debug, Default)]
pub struct Cached {
    ids: Vec<u32>,
    /// The rule of each position, and the cycles that it ran; 0 where they are not known.
    depths: Vec<(Rule, usize)>,
}

impl Cached {
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Notes the next position.
    pub fn push(&mut self, id: u32, rule: Rule, cycles: usize) {
        self.ids.push(id);
        self.depths.push((rule, cycles));
    }

    /// Notes tokens of equal rule, the cycles of which are not known.
    pub fn extend(&mut self, ids: &[u32], rule: Rule) {
        ids.iter().for_each(|&id| self.push(id, rule, 0));
    }

    /// Forgets all positions from `n` on.
    pub fn truncate(&mut self, n: usize) {
        self.ids.truncate(n);
        self.depths.truncate(n);
    }

    /// Tokens at the beginning of the prompt `ids` that need not be run, as a model of `n_cycles`
    /// cycles would compute for them by `rule` just what is there. The last token is run in any
    /// case: its logits begin the text.
    pub fn n_reusable(&self, ids: &[u32], rule: &Rule, n_cycles: usize) -> usize {
        let positions = self.ids.iter().zip(&self.depths);
        let reusable = ids
            .iter()
            .zip(positions)
            .take_while(|(id, (cached, depth))| id == cached && is_alike(rule, depth, n_cycles));
        reusable.count().min(ids.len().saturating_sub(1))
    }
}

/// Whether a position that ran so would have run alike by `rule`.
fn is_alike(rule: &Rule, (by, cycles): &(Rule, usize), n_cycles: usize) -> bool {
    let most = rule.max_cycles.min(n_cycles);
    if most != by.max_cycles.min(n_cycles) {
        return false;
    }
    let is_full_depth = rule.threshold.is_none() && *cycles == most;
    let is_equal = rule.threshold == by.threshold
        && (rule.threshold.is_none() || rule.min_cycles == by.min_cycles);
    is_full_depth || is_equal
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEEP: Rule = Rule::FULL_DEPTH;
    const EARLY: Rule = Rule {
        threshold: Some(0.5),
        ..DEEP
    };

    #[test]
    fn a_position_is_used_where_it_would_run_alike() {
        let mut cached = Cached::default();
        for (id, rule, cycles) in [(1, EARLY, 3), (2, EARLY, 3), (3, EARLY, 1), (4, EARLY, 3)] {
            cached.push(id, rule, cycles);
        }
        let ids = [1, 2, 3, 4, 5];
        assert_eq!(cached.n_reusable(&ids, &EARLY, 3), 4);
        assert_eq!(cached.n_reusable(&ids[..3], &EARLY, 3), 2);
        assert_eq!(cached.n_reusable(&[1, 9, 3, 4], &EARLY, 3), 1);
        // Without exits, those that ran all cycles.
        assert_eq!(cached.n_reusable(&ids, &DEEP, 3), 2);
        for other in [
            Rule {
                threshold: Some(0.6),
                ..EARLY
            },
            Rule {
                min_cycles: 2,
                ..EARLY
            },
            Rule {
                max_cycles: 2,
                ..EARLY
            },
        ] {
            assert_eq!(cached.n_reusable(&ids, &other, 3), 0, "{other:?}");
        }
        cached.truncate(1);
        assert_eq!(cached.n_reusable(&ids, &DEEP, 3), 1);
        // A bound of all cycles is none.
        let bound = Rule {
            max_cycles: 3,
            ..DEEP
        };
        assert_eq!(cached.n_reusable(&ids, &bound, 3), 1);
        assert_eq!(Cached::default().n_reusable(&[], &DEEP, 3), 0);
    }
}
