//! Texts in which some characters stand for others until tokens have been recognised.

use std::collections::BTreeMap;

use tokenizers::{Model, OffsetType, PreTokenizer};
use tokenizers::{NormalizedString, Normalizer};

use super::{Tokenizer, check_bytes, unpanicking};
use crate::error::Result;

/// The first character that stands for another.
pub const FIRST_STAND_IN: char = '\u{100000}';

impl Tokenizer {
    /// The tokens that are recognised in a text wherever they stand, but for blanks: special ones
    /// and others that the vocabulary was extended by.
    ///
    /// # Errors
    /// [`Error::Tokenizer`](crate::Error::Tokenizer) where other texts become them, or where the
    /// characters that stand for others would not last.
    pub fn markup(&self) -> Result<Vec<String>> {
        let added = self.inner.get_added_tokens_decoder();
        let mut tokens: Vec<_> = added.into_values().collect();
        tokens.retain(|token| !token.content.trim().is_empty());
        let normalized = |text: String| {
            let mut normalized = NormalizedString::from(text.as_str());
            let normalizer = self.inner.get_normalizer();
            let done = unpanicking(text.len(), || match normalizer {
                Some(normalizer) => normalizer.normalize(&mut normalized),
                None => Ok(()),
            });
            done.map_err(|message| self.error(message))?;
            Ok(normalized.get().to_string())
        };
        if !normalized(format!("a{FIRST_STAND_IN}a"))?.contains(FIRST_STAND_IN) {
            return Err(self.error("plain contents: the normalizer drops characters".to_string()));
        }
        // Of letters in another case, and of letters that are as wide as Chinese ones.
        let changes = normalized("A".to_string())?.contains('a')
            || normalized("\u{ff1c}".to_string())?.contains('<');
        if let Some(token) = tokens.iter().find(|token| token.normalized && changes) {
            let token = &token.content;
            let message = format!("plain contents: other texts become `{token}`, too");
            return Err(self.error(message));
        }
        Ok(tokens.into_iter().map(|token| token.content).collect())
    }

    /// Token ids as [`Tokenizer::encode_verbatim`] gives them, where each of the characters in
    /// `stand_ins` stands for another one that is part of no token recognised in the text.
    pub fn encode_with(&self, text: &str, stand_ins: &BTreeMap<char, char>) -> Result<Vec<u32>> {
        check_bytes(text)?;
        let inner = &self.inner;
        let encoding = unpanicking(text.len(), || {
            let added = inner.get_added_vocabulary();
            let mut pieces = added.extract_and_normalize(inner.get_normalizer(), text);
            pieces.normalize(|piece| {
                piece.map(|c| stand_ins.get(&c).copied().unwrap_or(c));
                Ok(())
            })?;
            if let Some(pre_tokenizer) = inner.get_pre_tokenizer() {
                pre_tokenizer.pre_tokenize(&mut pieces)?;
            }
            pieces.tokenize(|piece| inner.get_model().tokenize(piece.get()))?;
            let encoding = pieces.into_encoding(None, 0, OffsetType::None)?;
            inner.post_process(encoding, None, false)
        });
        let encoding = encoding.map_err(|message| self.error(message))?;
        Ok(encoding.get_ids().to_vec())
    }
}
