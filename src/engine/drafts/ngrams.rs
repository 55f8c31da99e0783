//! What followed the longest suffix of a text when it came before.

/// Tokens of a suffix that are compared, at most.
const LONGEST: usize = 16;

/// Tokens of a suffix that says something about what follows.
const SHORTEST: usize = 2;

/// A place where a suffix of the text came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// Tokens of the suffix.
    pub length: usize,
    /// Where what followed it begins.
    next: usize,
}

impl Match {
    /// The longest one of `text`, and the latest of those as long. It costs a look at each token.
    pub fn of(text: &[u32]) -> Option<Self> {
        let end = text.last_chunk::<SHORTEST>()?;
        // All but the end itself, the latest first.
        let places = text.windows(SHORTEST).enumerate().rev().skip(1);
        let mut best: Option<Self> = None;
        for (at, _) in places.filter(|(_, window)| *window == end) {
            let next = at + SHORTEST;
            let pairs = text[..next].iter().rev().zip(text.iter().rev());
            let length = pairs.take(LONGEST).take_while(|(a, b)| a == b).count();
            if best.is_none_or(|best| length > best.length) {
                best = Some(Self { length, next });
            }
            if length == LONGEST {
                break;
            }
        }
        best
    }

    /// The `n` tokens that followed. Where the text ends before, it is taken to go on repeating.
    pub fn next(&self, text: &[u32], n: usize) -> Vec<u32> {
        let mut ids = Vec::with_capacity(n);
        for at in self.next..self.next + n {
            ids.push(match text.get(at) {
                Some(&id) => id,
                None => ids[at - text.len()],
            });
        }
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(text: &[u32], n: usize) -> Option<(usize, Vec<u32>)> {
        Match::of(text).map(|found| (found.length, found.next(text, n)))
    }

    #[test]
    fn the_longest_suffix_counts_and_the_latest_of_equals() {
        assert_eq!(
            next(&[1, 2, 3, 9, 2, 3, 8, 1, 2, 3], 2),
            Some((3, vec![9, 2]))
        );
        assert_eq!(next(&[2, 3, 9, 2, 3, 8, 7, 2, 3], 1), Some((2, vec![8])));
        assert_eq!(next(&[3, 9, 2, 3], 1), None);
        assert_eq!(next(&[], 1), None);
        assert_eq!(next(&[5], 1), None);
    }

    #[test]
    fn a_period_goes_on() {
        assert_eq!(next(&[1, 2, 1, 2, 1, 2], 5), Some((4, vec![1, 2, 1, 2, 1])));
        assert_eq!(next(&[7, 7, 7], 3), Some((2, vec![7, 7, 7])));
    }

    #[test]
    fn a_suffix_is_compared_so_far() {
        let text: Vec<u32> = (0..40).chain(0..40).collect();
        assert_eq!(next(&text, 1), Some((LONGEST, vec![0])));
    }
}
