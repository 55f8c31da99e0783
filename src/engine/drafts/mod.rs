//! Tokens guessed before they are drawn, so that one pass verifies several of them.
//!
//! Each row of a verification draws as it would alone, at its place in the text. Guesses that equal
//! what is drawn are kept, up to the first that differs: the text is the text without guesses.

mod counts;
mod cuts;
mod ngrams;
mod pace;

pub use counts::DraftCounts;
pub(super) use cuts::Cuts;

use crate::error::{Error, Result};
use crate::kernels::draw::NO_TOKEN;
use crate::reference::Output;
use crate::schedule::{TextRules, Walk};
use ngrams::Match;
use pace::Pace;

/// Rows of a verification at most: so many get the bits of a row alone
/// ([`Target::few_rows`](crate::gpu::Target::few_rows)), and a text is what it is without guesses.
pub(super) const MAX_VERIFIED: usize = 8;

/// Where guesses come from, and how many are verified at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drafts {
    /// From the text so far: what followed its longest suffix when that came before.
    pub ngrams: bool,
    /// From the first part of the model itself, where n-grams give none.
    pub depth: Option<DraftDepth>,
    /// Guesses at a time; `None` for as many as have paid off in the text so far.
    pub tokens: Option<usize>,
}

/// How deep the model runs for a guess; what follows the last cycle comes after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DraftDepth {
    /// So many of its cycles.
    Cycles(usize),
    /// So many of its layers, of a model that runs each layer once.
    Layers(usize),
}

impl DraftDepth {
    /// The flag that asks for it.
    fn option(self) -> &'static str {
        match self {
            DraftDepth::Cycles(_) => "--draft-cycles",
            DraftDepth::Layers(_) => "--draft-layers",
        }
    }
}

impl Drafts {
    /// No guesses.
    pub const NONE: Self = Self {
        ngrams: false,
        depth: None,
        tokens: None,
    };

    /// Guesses that are verified in one pass at most.
    pub const MOST: usize = MAX_VERIFIED - 1;

    /// Whether anything is guessed.
    pub fn any(&self) -> bool {
        self.ngrams || self.depth.is_some()
    }

    /// The walk cut for drafts by depth; `None` where there are none.
    ///
    /// # Errors
    /// [`Error::Option`] for a number of guesses that no pass verifies, and for a depth that does
    /// not fit the walk or its rules.
    pub(super) fn cuts(&self, walk: &Walk, rules: &TextRules) -> Result<Option<Cuts>> {
        match self.tokens {
            Some(n) if !(1..=Self::MOST).contains(&n) => Err(Error::Option {
                option: "--draft-tokens",
                expected: format!("1 to {}", Self::MOST),
                found: n.to_string(),
            }),
            _ => Cuts::of(self, walk, rules),
        }
    }
}

/// Guesses of the tokens after the last one of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// `None`: what is drafted by depth.
    pub ids: Vec<Option<u32>>,
    /// Which pace is told how many of them were true.
    pace: usize,
}

/// Guesses for one text, and how they turn out.
#[derive(Clone, Debug)]
pub struct Drafter {
    drafts: Drafts,
    /// Of matches of two tokens, of three, of up to five, and of more; and of drafts by depth.
    paces: [Pace; 5],
    pub counts: DraftCounts,
}

impl Drafter {
    /// For a text that begins, where a draft by depth costs this part of a pass.
    pub fn new(drafts: Drafts, depth_cost: f64) -> Self {
        let pace = |rate| Pace::new(drafts.tokens, rate, pace::ROW_COST);
        let [a, b, c, d] = [0.4, 0.5, 0.6, 0.8].map(pace);
        let depth = Pace::new(drafts.tokens, 0.8, depth_cost);
        Self {
            drafts,
            paces: [a, b, c, d, depth],
            counts: DraftCounts::default(),
        }
    }

    /// Guesses of what follows `text`, at most `most`; `None` where none pays.
    pub fn guess(&self, text: &[u32], most: usize) -> Option<Draft> {
        let from_text = self.from_text(text, most);
        from_text.or_else(|| self.by_depth(most.min(Drafts::MOST)))
    }

    /// The guesses of [`Drafter::guess`], but for those by depth.
    pub fn from_text(&self, text: &[u32], most: usize) -> Option<Draft> {
        if !self.drafts.ngrams {
            return None;
        }
        let found = Match::of(text)?;
        let pace = match found.length {
            ..=2 => 0,
            3 => 1,
            4..=5 => 2,
            _ => 3,
        };
        let n = self.paces[pace].n(most.min(Drafts::MOST));
        let ids = found.next(text, n).into_iter().map(Some).collect();
        (n > 0).then_some(Draft { ids, pace })
    }

    fn by_depth(&self, most: usize) -> Option<Draft> {
        self.drafts.depth?;
        let pace = self.paces.len() - 1;
        let n = self.paces[pace].n(most);
        let ids = vec![None; n];
        (n > 0).then_some(Draft { ids, pace })
    }

    /// Takes in how many guesses of a draft were true.
    pub fn learn(&mut self, draft: &Draft, n_true: usize) {
        let n_guesses = draft.ids.len();
        self.paces[draft.pace].learn(n_guesses, n_true);
        self.counts.count(n_guesses, n_true);
        self.counts.n_by_depth += draft.ids.iter().filter(|id| id.is_none()).count();
    }

    /// Takes in that a token was drawn without a guess.
    pub fn skip(&mut self) {
        self.paces.iter_mut().for_each(Pace::skip);
        self.counts.count(0, 0);
    }
}

/// Rows at the beginning of a verification whose results are those of the text: that of the last
/// token, and those of guesses as long as they equal what was drawn at the row before. A guess of
/// `None` is what was drafted there.
pub fn n_valid(guesses: &[Option<u32>], outputs: &[Output]) -> usize {
    let is_true = |(guess, output): &(&Option<u32>, &Output)| {
        let drawn = output.drawn.filter(|&id| id != NO_TOKEN);
        drawn.is_some() && drawn == guess.or(output.drafted)
    };
    let n_true = guesses.iter().zip(outputs).take_while(is_true).count();
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
    use crate::model::config::Config;

    fn outputs(ids: &[u32]) -> Vec<Output> {
        let output = |&id: &u32| Output {
            drawn: Some(id),
            ..Output::default()
        };
        ids.iter().map(output).collect()
    }

    #[test]
    fn rows_count_up_to_the_first_guess_that_is_not_drawn() {
        let mut drawn = outputs(&[4, 5, 6]);
        let n_of = |guesses: [u32; 2], drawn: &[Output]| n_valid(&guesses.map(Some), drawn);
        assert_eq!(n_of([4, 5], &drawn), 3);
        assert_eq!(n_of([4, 7], &drawn), 2);
        assert_eq!(n_of([7, 5], &drawn), 1);
        assert_eq!(n_valid(&[], &drawn[..1]), 1);
        assert_eq!(n_valid(&[None, None], &drawn), 1);
        drawn[0].drafted = Some(4);
        drawn[1].drafted = Some(7);
        assert_eq!(n_valid(&[None, None], &drawn), 2);
    }

    #[test]
    fn a_row_without_a_token_is_left_to_the_next_pass() {
        let drawn = outputs(&[4, NO_TOKEN, 6]);
        let n_of = |guesses: [u32; 2], drawn: &[Output]| n_valid(&guesses.map(Some), drawn);
        assert_eq!(n_of([4, 5], &drawn), 1);
        assert_eq!(n_of([4, NO_TOKEN], &drawn), 1);
        assert_eq!(n_of([3, 5], &drawn), 1);
        assert_eq!(n_of([3, 5], &outputs(&[NO_TOKEN, 5, 6])), 1);
    }

    #[test]
    fn a_text_that_repeats_is_guessed_and_another_is_not() {
        let drafts = Drafts {
            ngrams: true,
            tokens: Some(3),
            depth: None,
        };
        let drafter = Drafter::new(drafts, 1.0);
        let text = [1, 2, 3, 4, 5, 1, 2, 3];
        let ids = |most| drafter.guess(&text, most).map(|draft| draft.ids);
        assert_eq!(ids(7), Some([4, 5, 1].map(Some).to_vec()));
        assert_eq!(ids(2), Some([4, 5].map(Some).to_vec()));
        assert_eq!(ids(0), None);
        assert_eq!(drafter.guess(&text[..6], 7), None);
        assert_eq!(Drafter::new(Drafts::NONE, 1.0).guess(&text, 7), None);
    }

    #[test]
    fn depth_drafts_where_the_text_does_not_repeat() {
        let drafts = Drafts {
            ngrams: true,
            tokens: Some(2),
            depth: Some(DraftDepth::Cycles(1)),
        };
        let drafter = Drafter::new(drafts, 0.3);
        let ids = |text: &[u32]| drafter.guess(text, 7).map(|draft| draft.ids);
        assert_eq!(ids(&[1, 2, 3, 1, 2]), Some(vec![Some(3), Some(1)]));
        assert_eq!(ids(&[1, 2, 3]), Some(vec![None, None]));
        assert_eq!(drafter.from_text(&[1, 2, 3], 7), None);
    }

    #[test]
    fn a_number_that_no_pass_verifies_is_refused() {
        let text = r#"{"model_type":"llama","hidden_size":8,"num_hidden_layers":2,
            "num_attention_heads":2,"vocab_size":4}"#;
        let config = Config::parse("config.json", text).unwrap();
        let exit = config.exit();
        let walk = Walk::new(&config, None, &exit).unwrap();
        let checked = |tokens| {
            let drafts = Drafts {
                ngrams: true,
                tokens,
                depth: None,
            };
            drafts.cuts(&walk, &walk.rules(&exit))
        };
        assert!(checked(None).is_ok() && checked(Some(Drafts::MOST)).is_ok());
        for n in [0, Drafts::MOST + 1] {
            let error = checked(Some(n)).unwrap_err().to_string();
            assert!(error.contains("--draft-tokens"), "{error}");
        }
    }
}
