//! How long a text may be that becomes no more than some number of tokens.

use serde_json::Value;
use tokenizers::ModelWrapper;

use super::Tokenizer;
use super::joining::{Joining, alphabet, alphabet_bytes};
use crate::error::{Error, Result};

/// How many times shorter composing characters may make a text.
const COMPOSING: usize = 4;

/// Bytes a token of the first part of a long text, and how many times longer each next part is.
const FIRST_PART: usize = 16;
const NEXT_PART: usize = 8;

/// Tokens at the end of a part that may become others where the text goes on; and a part must have
/// twice as many as are asked for.
const OPEN_END: usize = 64;

impl Tokenizer {
    /// The first `n` token ids of [`Tokenizer::encode`], or more; where there are no more than `n`,
    /// all of them. A long text is not read to its end.
    ///
    /// # Errors
    /// Those of [`Tokenizer::encode`].
    pub fn encode_first(&self, text: &str, n: usize) -> Result<Vec<u32>> {
        match self.first_part(text, n, true)? {
            Some(ids) => Ok(ids),
            None => self.encode(text),
        }
    }

    /// Refuses a text of more than `limit` tokens, without reading a long one to its end.
    ///
    /// # Errors
    /// [`Error::LongPrompt`]; those of [`Tokenizer::encode`]. A text that is not refused may still
    /// have more than `limit` tokens, but not many times as many.
    pub fn check_length(&self, text: &str, limit: usize) -> Result<()> {
        match self.first_part(text, limit, false)? {
            Some(_) => Err(Error::LongPrompt {
                limit,
                n_bytes: text.len(),
            }),
            None => Ok(()),
        }
    }

    /// The ids of a part at the beginning of `text` that has more than `n`; `None` where the text
    /// has no such part, or is short.
    fn first_part(&self, text: &str, n: usize, add_special: bool) -> Result<Option<Vec<u32>>> {
        let least = n.saturating_mul(2).saturating_add(OPEN_END);
        let mut end = least.saturating_mul(FIRST_PART);
        while end < text.len() {
            let part = &text[..text.floor_char_boundary(end)];
            let mut ids = self.ids(part, add_special)?;
            if ids.len() >= least {
                ids.truncate(ids.len() - OPEN_END);
                return Ok(Some(ids));
            }
            end = end.saturating_mul(NEXT_PART);
        }
        Ok(None)
    }

    /// Bytes that a text of `n_tokens` has at most: one with more has more tokens. `None` where
    /// that can't be said, for the tokenizer may drop a part of a text, or have one token for
    /// as much as there is of something.
    pub fn most_bytes(&self, n_tokens: usize) -> Option<usize> {
        let ModelWrapper::BPE(model) = self.inner.get_model() else {
            return None;
        };
        let has_all = match self.joining {
            Joining::Bytes => alphabet().all(|c| self.id(&c.to_string()).is_some()),
            Joining::Runs => {
                let mut tokens = (0..=u8::MAX).map(|byte| format!("<0x{byte:02X}>"));
                model.byte_fallback && tokens.all(|token| self.id(&token).is_some())
            }
            Joining::Local | Joining::Whole => false,
        };
        let splitter = self.inner.get_pre_tokenizer();
        let splits = steps(splitter.map(|s| &s.json), "pretokenizers")?;
        let splits_bytes = splits.iter().any(|step| step["type"] == "ByteLevel");
        let keeps_all = has_all
            && splits_bytes == (self.joining == Joining::Bytes)
            && splits.iter().all(split_keeps_all);
        let normalizer = self.inner.get_normalizer();
        let normalizers = steps(normalizer.map(|n| &n.json), "normalizers")?;
        let shorter = normalizers.iter().map(shortening);
        let shorter = shorter.product::<Option<usize>>()?;
        let added = self.inner.get_added_tokens_decoder();
        let takes_blanks = added.values().any(|token| token.lstrip || token.rstrip);
        if !keeps_all || takes_blanks {
            return None;
        }
        let n_bytes = |token: &String| match self.joining {
            Joining::Bytes => alphabet_bytes(token).len(),
            _ => token.len(),
        };
        let own = self.inner.get_vocab(false).keys().map(n_bytes).max();
        let added = added.values().map(|token| token.content.len()).max();
        let longest = own.max(added).unwrap_or(0);
        Some(n_tokens.saturating_mul(longest).saturating_mul(shorter))
    }
}

/// The steps of a normalizer or pre-tokenizer, as `tokenizer.json` has them; `all` is the field of
/// those of a sequence.
fn steps(step: Option<&Value>, all: &str) -> Option<Vec<Value>> {
    let mut steps = Vec::new();
    let mut open: Vec<Value> = step.cloned().into_iter().collect();
    while let Some(mut step) = open.pop() {
        match step["type"] == "Sequence" {
            true => open.append(step[all].as_array_mut()?),
            false => steps.push(step),
        }
    }
    Some(steps)
}

/// Whether a step of a pre-tokenizer drops nothing.
fn split_keeps_all(step: &Value) -> bool {
    match step["type"].as_str() {
        Some("ByteLevel" | "Digits" | "Metaspace") => true,
        Some("Split") => step["behavior"] != "Removed",
        _ => false,
    }
}

/// How many times shorter a normalizer may make a text; `None` where there is no bound.
fn shortening(step: &Value) -> Option<usize> {
    match step["type"].as_str() {
        Some("NFC") => Some(COMPOSING),
        Some("NFD" | "Prepend") => Some(1),
        Some("Replace") => {
            let pattern = step["pattern"]["String"].as_str()?;
            let is_longer = step["content"].as_str()?.len() >= pattern.len();
            is_longer.then_some(1)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MOST_BYTES, fixture};
    use super::*;

    fn tokenizer(kind: &str) -> Tokenizer {
        fixture(kind).1
    }

    #[test]
    fn long_texts_are_not_read_to_their_end() {
        for kind in ["byte_level", "llama", "unigram", "word_piece"] {
            let tokenizer = tokenizer(kind);
            let text = "The sea was calm, and the ship went on. ".repeat(400);
            let all = tokenizer.encode(&text).unwrap();
            for n in [1, 10, 100] {
                let first = tokenizer.encode_first(&text, n).unwrap();
                assert!(first.len() > n && first.len() < all.len(), "{kind}");
                assert_eq!(first[..n], all[..n], "{kind}");
                let error = tokenizer.check_length(&text, n).unwrap_err();
                assert!(matches!(error, Error::LongPrompt { limit, .. } if limit == n));
            }
            let first = tokenizer.encode_first(&text, all.len()).unwrap();
            assert_eq!(first, all, "{kind}");
            assert!(tokenizer.check_length(&text, all.len()).is_ok(), "{kind}");
            let long = " ".repeat(MOST_BYTES + 1);
            assert!(matches!(
                tokenizer.encode(&long),
                Err(Error::LongText { .. })
            ));
        }
    }

    #[test]
    fn texts_with_more_bytes_have_more_tokens() {
        for kind in ["byte_level", "llama"] {
            let tokenizer = tokenizer(kind);
            let most = |n| tokenizer.most_bytes(n);
            let Some(per_token) = most(1) else {
                // A token of this one takes blanks with it.
                continue;
            };
            assert!(per_token > 1);
            for text in ["a", " ", "\n", "é", "word ", "e\u{301}", "<", "\u{0}"] {
                for n in [1, 100] {
                    let text = text.repeat(n);
                    let ids = tokenizer.encode_verbatim(&text).unwrap();
                    assert!(Some(text.len()) <= most(ids.len()), "{kind}: {text:?}");
                }
            }
        }
        for kind in ["unigram", "word_piece"] {
            assert_eq!(tokenizer(kind).most_bytes(9), None);
        }
        let model = crate::model::Model::open(crate::model::BUILTIN, crate::model::Fetch::Never);
        assert!(model.unwrap().tokenizer().unwrap().most_bytes(1).is_some());
    }
}
