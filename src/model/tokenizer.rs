//! Text to token ids and back, through the checkpoint's own `tokenizer.json`, with the files that
//! transformers reads beside it.

mod added;
mod checks;
mod class;
mod cleaning;
mod components;
mod joining;
mod length;
mod limits;
pub(crate) mod naming;
mod pattern;
mod plain;
mod steps;
mod stream;

pub(super) use class::TOKENIZER_TYPE;
use joining::Joining;
use naming::Files;
pub(super) use plain::FIRST_STAND_IN;
use steps::{Decoding, Normalizing, Splitting};
pub use stream::TextStream;
use tokenizers::{ModelWrapper, PostProcessorWrapper, TokenizerImpl};

use super::Text;
use super::guard::guarded;
use crate::error::{Error, Result, first_line};

/// Characters that are quoted of the library's messages.
const LONGEST_MESSAGE: usize = 200;

/// Bytes of a text that is made into tokens at once. The library takes hundreds of bytes of memory
/// for each, up to seven hundred where every character has tokens of its own.
const MOST_BYTES: usize = 4 << 20;

/// The library's tokenizer, with limits.
type Inner = TokenizerImpl<ModelWrapper, Normalizing, Splitting, PostProcessorWrapper, Decoding>;

/// A checkpoint's tokenizer.
pub struct Tokenizer {
    inner: Inner,
    model: String,
    joining: Joining,
    /// Whether texts are cleaned up.
    cleans_up: bool,
    warnings: Vec<String>,
}

impl Tokenizer {
    /// Reads the text of a `tokenizer.json`; `file` names it in errors. The truncation and the
    /// padding that may be saved there are for training: nothing is cut or padded.
    ///
    /// # Errors
    /// [`Error::File`] where it is none.
    pub fn parse(model: &str, file: &str, text: &str) -> Result<Self> {
        Ok(Self::of(model, inner(file, text)?.0))
    }

    fn of(model: &str, inner: Inner) -> Self {
        Self {
            joining: Joining::of(inner.get_decoder()),
            inner,
            model: model.to_string(),
            cleans_up: false,
            warnings: Vec::new(),
        }
    }

    /// Reads `tokenizer.json` and the other files about tokens among a checkpoint's `texts`;
    /// `None` without it.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::Field`] where one of them can't be read.
    pub fn of_checkpoint(model: &str, texts: &[Text]) -> Result<Option<Self>> {
        let find = |name: &str| texts.iter().find(|t| t.name == name);
        let Some(file) = find("tokenizer.json") else {
            return Ok(None);
        };
        let (inner, stated) = inner(&file.file, &file.text)?;
        let stated = stated.iter().map(|(id, content)| (*id, content.as_str()));
        let mut warnings = added::other_ids(&file.file, stated, &inner);
        let files = Files::read(&find)?;
        let beside = added::Beside::read(&files, &find)?;
        let saved = inner.get_added_tokens_decoder().into_iter().collect();
        let inner = files.class.rebuilt(inner, &files.config.json())?;
        let mut tokenizer = Self::of(model, inner);
        let add = unpanicking(0, || Ok(beside.add_to(&mut tokenizer.inner, &saved)));
        warnings.extend(add.map_err(|message| tokenizer.error(message))?);
        tokenizer.warnings = warnings;
        added::check_clashes(&file.file, &tokenizer.inner)?;
        tokenizer.cleans_up = beside.cleans_up(&tokenizer.inner);
        Ok(Some(tokenizer))
    }

    /// Settings of the files that are not followed, each in one line.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Token ids of `text`, special tokens recognised and added as the tokenizer's own
    /// post-processor does, be the text empty: the ids that `tokenizer(text)` gives in
    /// transformers.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.ids(text, true)
    }

    /// Token ids of a text that has its special tokens written out, such as a rendered chat
    /// template: they are recognised, none are added.
    pub fn encode_verbatim(&self, text: &str) -> Result<Vec<u32>> {
        self.ids(text, false)
    }

    fn ids(&self, text: &str, add_special: bool) -> Result<Vec<u32>> {
        check_bytes(text)?;
        // Nobody asks where in the text tokens are, or for their texts.
        let encoding = unpanicking(text.len(), || self.inner.encode_fast(text, add_special));
        let encoding = encoding.map_err(|message| self.error(message))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The id of a token as the vocabulary has it.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Whether a token is a special one, which texts do not show.
    pub fn is_special(&self, id: u32) -> bool {
        let token = self.inner.id_to_token(id);
        let added = self.inner.get_added_vocabulary();
        token.is_some_and(|token| added.is_special_token(&token))
    }

    /// The text of `ids`. Bytes that are no UTF-8 become U+FFFD.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        let text = self.decode_raw(ids, skip_special)?;
        Ok(match self.cleans_up {
            true => cleaning::clean(&text),
            false => text,
        })
    }

    /// The text of `ids` before any cleaning.
    fn decode_raw(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        // Some decoders of the library assume that there is a token.
        if !ids.iter().any(|&id| self.shown(id, skip_special).is_some()) {
            return Ok(String::new());
        }
        let text = unpanicking(ids.len(), || self.inner.decode(ids, skip_special));
        text.map_err(|message| self.error(message))
    }

    /// The bytes that the token `id` adds to a text, where it adds `text`: a part of a character
    /// has bytes, but no text of its own.
    pub fn bytes(&self, id: u32, text: &str) -> Vec<u8> {
        let own = self.own_bytes(id, true);
        let is_broken = text.contains(char::REPLACEMENT_CHARACTER);
        match own.as_deref().map(std::str::from_utf8) {
            // A stop text has cut it off.
            Some(Ok(whole)) if !text.ends_with(whole) && !is_broken => text.as_bytes().to_vec(),
            Some(_) => own.unwrap_or_default(),
            None => text.as_bytes().to_vec(),
        }
    }

    /// How `id` is called where it has no text.
    fn name(&self, id: u32) -> String {
        let written = || self.shown(id, false).unwrap_or_else(|| id.to_string());
        match self.own_bytes(id, true) {
            Some(bytes) => bytes_name(&bytes),
            None => written(),
        }
    }

    /// The token's own bytes, where they don't depend on the tokens around it; `None` where it is
    /// left out.
    fn own_bytes(&self, id: u32, skip_special: bool) -> Option<Vec<u8>> {
        let token = self.shown(id, skip_special)?;
        match self.joining {
            Joining::Bytes => Some(joining::alphabet_bytes(&token)),
            Joining::Runs => joining::fallback_byte(&token).map(|byte| vec![byte]),
            Joining::Local | Joining::Whole => None,
        }
    }

    /// The bytes of the tokens of a byte-level tokenizer.
    fn bytes_of(&self, ids: &[u32]) -> Vec<u8> {
        let tokens = ids.iter().filter_map(|&id| self.shown(id, false));
        tokens.flat_map(|t| joining::alphabet_bytes(&t)).collect()
    }

    /// The token `id` as the vocabulary has it; `None` where a text leaves it out.
    fn shown(&self, id: u32, skip_special: bool) -> Option<String> {
        let added = self.inner.get_added_vocabulary();
        let token = self.inner.id_to_token(id)?;
        (!skip_special || !added.is_special_token(&token)).then_some(token)
    }

    pub(super) fn error(&self, message: String) -> Error {
        Error::Tokenizer {
            model: self.model.clone(),
            message,
        }
    }
}

/// Refuses a text that is too long to be made into tokens at once.
fn check_bytes(text: &str) -> Result<()> {
    match text.len() > MOST_BYTES {
        true => Err(Error::LongText {
            limit: MOST_BYTES,
            found: text.len(),
        }),
        false => Ok(()),
    }
}

/// The library's tokenizer of a `tokenizer.json`, and the added tokens with the ids that the file
/// gives them.
fn inner(file: &str, text: &str) -> Result<(Inner, Vec<(u32, String)>)> {
    let stated = checks::check(file, text)?;
    let mut inner = match unpanicking(text.len(), || Inner::from_bytes(text)) {
        Ok(inner) => inner,
        Err(message) => return Err(Error::file(file, "a tokenizer", message)),
    };
    inner.with_padding(None);
    match inner.with_truncation(None) {
        Ok(_) => Ok((inner, stated)),
        Err(e) => Err(Error::file(file, "a tokenizer", first_line(e))),
    }
}

/// Bytes that both texts begin with, whole characters.
fn in_common(a: &str, b: &str) -> usize {
    let both = a.chars().zip(b.chars());
    both.take_while(|(a, b)| a == b)
        .map(|(c, _)| c.len_utf8())
        .sum()
}

/// How OpenAI writes bytes that are no text.
pub fn bytes_name(bytes: &[u8]) -> String {
    let escapes = bytes.iter().map(|b| format!("\\x{b:02x}"));
    format!("bytes:{}", escapes.collect::<String>())
}

/// The library panics over some files that it should refuse, and over some texts. `n_bytes` is the
/// size of the text, which sets the time that patterns may take.
fn unpanicking<T>(
    n_bytes: usize,
    work: impl FnOnce() -> tokenizers::Result<T>,
) -> Result<T, String> {
    match guarded(|| pattern::limited(n_bytes, work)) {
        Ok(result) => result.map_err(short),
        Err(message) => Err(short(message)),
    }
}

/// The first line of a message, which may quote a whole file.
fn short(message: impl ToString) -> String {
    let line = first_line(message);
    match line.char_indices().nth(LONGEST_MESSAGE) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

/// The text of a `tokenizer.json` among the fixtures, and its tokenizer.
#[cfg(test)]
pub fn fixture(kind: &str) -> (String, Tokenizer) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tokenizers");
    let text = std::fs::read_to_string(format!("{folder}/{kind}.json")).unwrap();
    let tokenizer = Tokenizer::parse(kind, kind, &text).unwrap();
    (text, tokenizer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BUILTIN, Fetch, Model};

    #[test]
    fn no_piece_ends_inside_a_character() {
        let tokenizer = Model::open(BUILTIN, Fetch::Never)
            .unwrap()
            .tokenizer()
            .unwrap();
        let text = "Çà et là — 日本語 🦀 naïve\n";
        let ids = tokenizer.encode(text).unwrap();
        let mut stream = TextStream::new(&tokenizer);
        let pieces: Vec<String> = ids
            .iter()
            .flat_map(|&id| stream.push(id).unwrap())
            .collect();
        assert_eq!(pieces.len(), ids.len());
        // The control: this tokenizer does split characters.
        assert!(pieces.iter().any(String::is_empty));
        assert!(pieces.iter().all(|p| !p.contains('\u{fffd}')));
        assert_eq!(pieces.concat(), text);
    }

    #[test]
    fn bytes_that_are_no_character_do_not_hold_the_text_back_for_ever() {
        let tokenizer = Model::open(BUILTIN, Fetch::Never)
            .unwrap()
            .tokenizer()
            .unwrap();
        let start = tokenizer.encode("日").unwrap()[0];
        let mut stream = TextStream::new(&tokenizer);
        let ids = [start; 6];
        let text: String = ids
            .iter()
            .flat_map(|&id| stream.push(id).unwrap())
            .collect();
        assert!(text.contains('\u{fffd}'));
        let word = tokenizer.encode("Romeo").unwrap();
        let rest: String = word
            .iter()
            .flat_map(|&id| stream.push(id).unwrap())
            .collect();
        assert!(rest.ends_with("Romeo"), "{rest:?}");
    }
}
