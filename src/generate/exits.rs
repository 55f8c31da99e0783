//! How deep positions ran.

use serde::Serialize;

/// Positions by the cycles they ran, from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Exits(Vec<usize>);

impl Exits {
    /// Counts a position that ran `cycles`, at least 1.
    pub fn count(&mut self, cycles: usize) {
        if self.0.len() < cycles {
            self.0.resize(cycles, 0);
        }
        self.0[cycles - 1] += 1;
    }

    /// Counts all that `other` did.
    pub fn add(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(n, m)| *n += m);
    }

    /// The count of each number of cycles.
    pub fn by_cycles(&self) -> &[usize] {
        &self.0
    }

    /// Mean cycles of a position; 0 where there was none.
    pub fn mean_cycles(&self) -> f64 {
        let positions: usize = self.0.iter().sum();
        let cycles: usize = (1..).zip(&self.0).map(|(c, n)| c * n).sum();
        cycles as f64 / positions.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_counted_by_their_cycles() {
        let mut exits = Exits::default();
        assert_eq!(exits.mean_cycles(), 0.0);
        [3, 1, 3].into_iter().for_each(|cycles| exits.count(cycles));
        let mut both = Exits::default();
        both.count(1);
        both.add(&exits);
        assert_eq!(both.by_cycles(), [2, 0, 2]);
        assert_eq!(both.mean_cycles(), 2.0);
    }
}
