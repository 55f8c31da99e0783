//! How many guesses pay, by how those before turned out.

/// The cost of a further row of a verification, as a part of what a pass over one row costs: the
/// weights are read once for all. This is what four and eight rows were seen to cost on llvmpipe,
/// more than on GPUs.
pub const ROW_COST: f64 = 0.25;

/// How much the latest guess counts.
const RATE_STEP: f64 = 0.125;

/// Where no guess pays, one is made after so many tokens without, to see whether that is still so.
const PROBE: usize = 16;

/// A number of guesses that follows how many are true.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    fixed: Option<usize>,
    /// The share of guesses that are true, of those whose predecessors are.
    rate: f64,
    /// Of a guess, as a part of a pass.
    cost: f64,
    /// Tokens without any guess since the last one of this pace.
    n_idle: usize,
}

impl Pace {
    /// `fixed` guesses, or as many as pay where about `rate` of them are true.
    pub fn new(fixed: Option<usize>, rate: f64, cost: f64) -> Self {
        Self {
            fixed,
            rate,
            cost,
            n_idle: 0,
        }
    }

    /// Guesses to make now, at most `most`.
    pub fn n(&self, most: usize) -> usize {
        if let Some(n) = self.fixed {
            return n.min(most);
        }
        let (mut best, mut best_speed) = (0, 1.0);
        let (mut tokens, mut chance) = (1.0, 1.0);
        for n in 1..=most {
            chance *= self.rate;
            tokens += chance;
            let speed = tokens / (1.0 + n as f64 * self.cost);
            if speed > best_speed {
                (best, best_speed) = (n, speed);
            }
        }
        match best == 0 && self.n_idle >= PROBE {
            true => most.min(1),
            false => best,
        }
    }

    /// Takes in that a token was drawn without a guess.
    pub fn skip(&mut self) {
        self.n_idle += 1;
    }

    /// Takes in that the first `n_true` of `n_guesses` were true. Nothing is known of those after
    /// the first that was not.
    pub fn learn(&mut self, n_guesses: usize, n_true: usize) {
        self.n_idle = 0;
        for _ in 0..n_true {
            self.rate += RATE_STEP * (1.0 - self.rate);
        }
        if n_true < n_guesses {
            self.rate -= RATE_STEP * self.rate;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn true_guesses_ask_for_more_and_false_ones_for_none() {
        let mut pace = Pace::new(None, 0.5, ROW_COST);
        assert!((1..=2).contains(&pace.n(7)));
        for _ in 0..40 {
            pace.learn(1, 1);
        }
        assert_eq!((pace.n(7), pace.n(3)), (7, 3));
        for _ in 0..40 {
            pace.learn(7, 0);
        }
        assert_eq!(pace.n(7), 0);
        // A look now and then.
        (0..PROBE).for_each(|_| pace.skip());
        assert_eq!((pace.n(7), pace.n(0)), (1, 0));
        pace.learn(1, 0);
        assert_eq!(pace.n(7), 0);
    }

    #[test]
    fn a_number_that_is_asked_for_stays() {
        let mut pace = Pace::new(Some(4), 0.5, ROW_COST);
        for _ in 0..40 {
            pace.learn(4, 0);
        }
        assert_eq!((pace.n(7), pace.n(2)), (4, 2));
    }
}
