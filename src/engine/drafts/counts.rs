//! How guesses turned out.

use serde_json::{Value, json};

/// Guesses of a text by their place in a draft, and how many were true.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DraftCounts {
    /// Passes, with guesses or without; of a text without drafts they are not counted.
    pub n_passes: usize,
    /// Tokens that they gave.
    pub n_tokens: usize,
    /// Guesses made, by place.
    pub drafted: Vec<usize>,
    /// Those that were kept, by place.
    pub accepted: Vec<usize>,
    /// Guesses by depth, of all places together.
    pub n_by_depth: usize,
}

impl DraftCounts {
    /// Counts a pass over `n_guesses`, of which the first `n_true` were kept.
    pub fn count(&mut self, n_guesses: usize, n_true: usize) {
        self.n_passes += 1;
        self.n_tokens += 1 + n_true;
        self.make_places(n_guesses);
        self.drafted[..n_guesses].iter_mut().for_each(|n| *n += 1);
        self.accepted[..n_true].iter_mut().for_each(|n| *n += 1);
    }

    /// Counts all that `other` did.
    pub fn add(&mut self, other: &Self) {
        self.n_passes += other.n_passes;
        self.n_tokens += other.n_tokens;
        self.n_by_depth += other.n_by_depth;
        self.make_places(other.drafted.len());
        let sums = self.drafted.iter_mut().zip(&other.drafted);
        sums.for_each(|(n, m)| *n += m);
        let sums = self.accepted.iter_mut().zip(&other.accepted);
        sums.for_each(|(n, m)| *n += m);
    }

    fn make_places(&mut self, n: usize) {
        let n = n.max(self.drafted.len());
        self.drafted.resize(n, 0);
        self.accepted.resize(n, 0);
    }

    /// Guesses made, and those that were kept.
    pub fn totals(&self) -> (usize, usize) {
        (self.drafted.iter().sum(), self.accepted.iter().sum())
    }

    /// The object of reports.
    pub fn json(&self) -> Value {
        json!({
            "drafted": self.drafted,
            "accepted": self.accepted,
            "by_depth": self.n_by_depth,
            "passes": self.n_passes,
            "tokens_per_pass": self.tokens_a_pass(),
        })
    }

    /// Tokens a pass; 0 where there was none.
    pub fn tokens_a_pass(&self) -> f64 {
        self.n_tokens as f64 / self.n_passes.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_are_counted_by_their_place() {
        let mut counts = DraftCounts::default();
        counts.count(3, 1);
        counts.count(0, 0);
        let mut all = DraftCounts::default();
        all.count(1, 1);
        all.add(&counts);
        assert_eq!(all.drafted, [2, 1, 1]);
        assert_eq!(all.accepted, [2, 0, 0]);
        assert_eq!((all.totals(), all.n_passes, all.n_tokens), ((4, 2), 3, 5));
        assert!((all.tokens_a_pass() - 5.0 / 3.0).abs() < 1e-12);
        assert_eq!(DraftCounts::default().tokens_a_pass(), 0.0);
    }
}
