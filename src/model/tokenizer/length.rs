//! How long a text may be that becomes no more than some number of tokens.

use serde_json::Value;
use tokenizers::ModelWrapper;

use super::Tokenizer;
use super::joining::{Joining, alphabet, alphabet_bytes};

/// How many times shorter composing characters may make a text.
const COMPOSING: usize = 4;

impl Tokenizer {
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
    use super::*;

    fn tokenizer(kind: &str) -> Tokenizer {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tokenizers");
        let text = std::fs::read_to_string(format!("{folder}/{kind}.json")).unwrap();
        Tokenizer::parse(kind, kind, &text).unwrap()
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
