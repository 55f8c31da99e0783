//! Tokens guessed before they are drawn, so that one pass verifies several of them.
//!
//! Each row of a verification draws as it would alone, at its place in the text. Guesses that equal
//! what is drawn are kept, up to the first that differs: the text is the text without guesses.

mod counts;
mod ngrams;
mod pace;

pub use counts::DraftCounts;

use super::memory::sizes::MAX_VERIFIED;
use crate::error::{Error, Result};
use crate::kernels::draw::NO_TOKEN;
use crate::reference::Output;
use ngrams::Match;
use pace::Pace;

/// Where guesses come from, and how many are verified at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drafts {
    /// From the text so far: what followed its longest suffix when that came before.
    pub ngrams: bool,
    /// Guesses at a time; `None` for as many as have paid off in the text so far.
    pub tokens: Option<usize>,
}

impl Drafts {
    /// No guesses.
    pub const NONE: Self = Self {
        ngrams: false,
        tokens: None,
    };

    /// Guesses that are verified in one pass at most.
    pub const MOST: usize = MAX_VERIFIED - 1;

    /// Whether anything is guessed.
    pub fn any(&self) -> bool {
        self.ngrams
    }

    /// # Errors
    /// [`Error::Option`] for a number of guesses that no pass verifies.
    pub(super) fn check(&self) -> Result<()> {
        match self.tokens {
            Some(n) if !(1..=Self::MOST).contains(&n) => Err(Error::Option {
                option: "--draft-tokens",
                expected: format!("1 to {}", Self::MOST),
                found: n.to_string(),
            }),
            _ => Ok(()),
        }
    }
}

/// Guesses of the tokens after the last one of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub ids: Vec<u32>,
    /// Which pace is told how many of them were true.
    pace: usize,
}

/// Guesses for one text, and how they turn out.
#[derive(Clone, Debug)]
pub struct Drafter {
    drafts: Drafts,
    /// Of matches of two tokens, of three, of up to five, and of more.
    paces: [Pace; 4],
    pub counts: DraftCounts,
}

impl Drafter {
    /// For a text that begins.
    pub fn new(drafts: Drafts) -> Self {
        let pace = |rate| Pace::new(drafts.tokens, rate, pace::ROW_COST);
        Self {
            drafts,
            paces: [0.4, 0.5, 0.6, 0.8].map(pace),
            counts: DraftCounts::default(),
        }
    }

    /// Guesses of what follows `text`, at most `most`; `None` where none pays.
    pub fn guess(&self, text: &[u32], most: usize) -> Option<Draft> {
        if !self.drafts.ngrams || most == 0 {
            return None;
        }
        let found = Match::of(text)?;
        let pace = match found.length {
            ..=2 => 0,
            3 => 1,
            4..=5 => 2,
            _ => 3,
        };
        let n = self.paces[pace].n(most.min(Drafts::MOST), text.len());
        let ids = found.next(text, n);
        (n > 0).then_some(Draft { ids, pace })
    }

    /// Takes in how many guesses of a draft were true.
    pub fn learn(&mut self, draft: &Draft, n_true: usize) {
        let n_guesses = draft.ids.len();
        self.paces[draft.pace].learn(n_guesses, n_true);
        self.counts.count(n_guesses, n_true);
    }

    /// Takes in that a token was drawn without a guess.
    pub fn skip(&mut self) {
        self.counts.count(0, 0);
    }
}

/// Rows at the beginning of a verification whose results are those of the text: that of the last
/// token, and those of guesses as long as they equal what was drawn at the row before.
pub fn n_valid(guesses: &[u32], outputs: &[Output]) -> usize {
    let pairs = guesses.iter().zip(outputs);
    let n_true = pairs.take_while(|(guess, output)| output.drawn == Some(**guess));
    let n_true = n_true.count();
    // Logits that are not finite are found again when their row comes first.
    let is_finite = outputs[n_true].drawn != Some(NO_TOKEN);
    match n_true == 0 || is_finite {
        true => n_true + 1,
        false => n_true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(ids: &[u32]) -> Vec<Output> {
        let output = |&id: &u32| Output {
            drawn: Some(id),
            ..Output::default()
        };
        ids.iter().map(output).collect()
    }

    #[test]
    fn rows_count_up_to_the_first_guess_that_is_not_drawn() {
        let drawn = outputs(&[4, 5, 6]);
        assert_eq!(n_valid(&[4, 5], &drawn), 3);
        assert_eq!(n_valid(&[4, 7], &drawn), 2);
        assert_eq!(n_valid(&[7, 5], &drawn), 1);
        assert_eq!(n_valid(&[], &drawn[..1]), 1);
    }

    #[test]
    fn a_row_without_a_token_is_left_to_the_next_pass() {
        let drawn = outputs(&[4, NO_TOKEN, 6]);
        assert_eq!(n_valid(&[4, 5], &drawn), 1);
        assert_eq!(n_valid(&[3, 5], &drawn), 1);
        assert_eq!(n_valid(&[3, 5], &outputs(&[NO_TOKEN, 5, 6])), 1);
    }

    #[test]
    fn a_text_that_repeats_is_guessed_and_another_is_not() {
        let drafts = Drafts {
            ngrams: true,
            tokens: Some(3),
        };
        let drafter = Drafter::new(drafts);
        let text = [1, 2, 3, 4, 5, 1, 2, 3];
        assert_eq!(drafter.guess(&text, 7).unwrap().ids, [4, 5, 1]);
        assert_eq!(drafter.guess(&text, 2).unwrap().ids, [4, 5]);
        assert_eq!(drafter.guess(&text, 0), None);
        assert_eq!(drafter.guess(&text[..6], 7), None);
        assert_eq!(Drafter::new(Drafts::NONE).guess(&text, 7), None);
    }

    #[test]
    fn a_number_that_no_pass_verifies_is_refused() {
        let of = |tokens| Drafts {
            ngrams: true,
            tokens,
        };
        assert!(of(None).check().is_ok() && of(Some(Drafts::MOST)).check().is_ok());
        for n in [0, Drafts::MOST + 1] {
            let error = of(Some(n)).check().unwrap_err().to_string();
            assert!(error.contains("--draft-tokens"), "{error}");
        }
    }
}
