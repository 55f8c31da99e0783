//! Text to token ids and back, through the checkpoint's own `tokenizer.json`.

use tokenizers::Tokenizer as Inner;

use super::guard::guarded;
use crate::error::{Error, Result, first_line};

/// A checkpoint's tokenizer.
pub struct Tokenizer {
    inner: Inner,
    model: String,
}

impl Tokenizer {
    /// Reads the text of a `tokenizer.json`; `file` names it in errors.
    pub fn parse(model: &str, file: &str, text: &str) -> Result<Self> {
        match unpanicking(|| Inner::from_bytes(text)) {
            Ok(inner) => Ok(Self {
                inner,
                model: model.to_string(),
            }),
            Err(message) => Err(Error::file(file, "a tokenizer", message)),
        }
    }

    /// Token ids of `text`, special tokens recognised and added as the tokenizer's own
    /// post-processor does: what `tokenizer(text)` gives in transformers.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.ids(text, true)
    }

    /// Token ids of a text that has its special tokens written out, such as a rendered chat
    /// template: they are recognised, none are added.
    pub fn encode_verbatim(&self, text: &str) -> Result<Vec<u32>> {
        self.ids(text, false)
    }

    fn ids(&self, text: &str, add_special: bool) -> Result<Vec<u32>> {
        let encoding = unpanicking(|| self.inner.encode(text, add_special));
        let encoding = encoding.map_err(|message| self.error(message))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of `ids`. Bytes that are no UTF-8 become U+FFFD.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        let text = unpanicking(|| self.inner.decode(ids, skip_special));
        text.map_err(|message| self.error(message))
    }

    fn error(&self, message: String) -> Error {
        Error::Tokenizer {
            model: self.model.clone(),
            message,
        }
    }
}

/// The library panics over some files that it should refuse.
fn unpanicking<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    match guarded(work) {
        Ok(result) => result.map_err(first_line),
        Err(message) => Err(first_line(message)),
    }
}

/// Turns a stream of ids into pieces of text, none of which ends inside a character.
///
/// A token's text can depend on its neighbours, so a piece is the difference between the
/// decoded window with and without the new ids.
///
/// ```
/// use ztt_wgpu::model::tokenizer::TextStream;
/// use ztt_wgpu::model::{BUILTIN, Fetch, Model};
///
/// let tokenizer = Model::open(BUILTIN, Fetch::Never)?.tokenizer()?;
/// let mut stream = TextStream::new(&tokenizer);
/// let mut text = String::new();
/// for id in tokenizer.encode("naïve 🦀")? {
///     text += &stream.push(id)?;
/// }
/// assert_eq!(text + &stream.finish()?, "naïve 🦀");
/// # Ok::<(), ztt_wgpu::Error>(())
/// ```
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    ids: Vec<u32>,
    /// `ids[..read]` have been given out; the window starts at 0.
    read: usize,
}

/// A character has at most four bytes: ids beyond that many that still decode to a broken
/// character are broken for good.
const MAX_HELD_IDS: usize = 4;

impl<'a> TextStream<'a> {
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        Self {
            tokenizer,
            ids: Vec::new(),
            read: 0,
        }
    }

    /// The text of ids still held back: broken characters, as U+FFFD, are left out.
    pub fn finish(&mut self) -> Result<String> {
        let before = self.tokenizer.decode(&self.ids[..self.read], true)?;
        let after = self.tokenizer.decode(&self.ids, true)?;
        let rest = after.strip_prefix(before.as_str()).unwrap_or("");
        self.read = self.ids.len();
        Ok(rest.trim_end_matches('\u{fffd}').to_string())
    }

    /// The text that `id` completes; empty while a character is incomplete.
    pub fn push(&mut self, id: u32) -> Result<String> {
        self.ids.push(id);
        let before = self.tokenizer.decode(&self.ids[..self.read], true)?;
        let after = self.tokenizer.decode(&self.ids, true)?;
        let held = self.ids.len() - self.read;
        if after.ends_with('\u{fffd}') && held < MAX_HELD_IDS {
            return Ok(String::new());
        }
        let piece = after
            .strip_prefix(before.as_str())
            .unwrap_or("")
            .to_string();
        self.ids.drain(..self.read);
        self.read = self.ids.len();
        Ok(piece)
    }
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
        let pieces: Vec<String> = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
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
        let text: String = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
        assert!(text.contains('\u{fffd}'));
        let word = tokenizer.encode("Romeo").unwrap();
        let rest: String = word.iter().map(|&id| stream.push(id).unwrap()).collect();
        assert!(rest.ends_with("Romeo"), "{rest:?}");
    }
}
